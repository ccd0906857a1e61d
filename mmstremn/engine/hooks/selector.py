"""What the learned selector does while it trains, and a warning where it does not learn."""

import torch
from mmengine.hooks import Hook

from mmstremn.memory import GumbelSelector
from mmstremn.registry import HOOKS


@HOOKS.register_module()
class SelectorStatisticsHook(Hook):
    """Log the statistics of every ``GumbelSelector`` and warn when one that is trainable gets no gradient.

    Args:
        interval: Iterations between two entries ``train/selector/<name>`` in the message hub
            (``train/selector<i>/...`` where there are several selectors).
        patience: Iterations without a gradient other than zero after which a warning is logged, once each
            time.
    """

    def __init__(self, interval: int = 50, patience: int = 200):
        self.interval = interval
        self.patience = patience

    def before_train(self, runner) -> None:
        modules = [(name, m) for name, m in runner.model.named_modules() if isinstance(m, GumbelSelector)]
        self.selectors = [GradientWatch(name, module) for name, module in modules]

    def after_train(self, runner) -> None:
        for watch in self.selectors:
            watch.close()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            for index, watch in enumerate(self.selectors):
                prefix = 'selector' if len(self.selectors) == 1 else f'selector{index}'
                for name, value in watch.selector.pop_statistics().items():
                    runner.message_hub.update_scalar(f'train/{prefix}/{name}', value)
        if self.every_n_train_iters(runner, self.patience):
            for watch in self.selectors:
                if watch.trainable and not watch.pop():
                    runner.logger.warning(
                        f"the selector '{watch.name}' got no gradient in the last {self.patience} "
                        'iterations: it does '
                        'not learn. Its clips need more frames than the memory has slots, or it should be '
                        'frozen.'
                    )


class GradientWatch:
    """Records whether a gradient other than zero reached a selector; on its device, so that nothing is
    synchronised.

    Hooks on the parameters see the gradient that backward leaves, before the optimizer clears it.

    Args:
        name: The selector's name in the model.
        selector: Its parameters are watched.
    """

    def __init__(self, name: str, selector: GumbelSelector):
        self.name, self.selector = name, selector
        self._largest: dict[torch.device, torch.Tensor] = {}
        self._handles = [
            parameter.register_post_accumulate_grad_hook(self._record)
            for parameter in selector.parameters()
            if parameter.requires_grad
        ]

    @property
    def trainable(self) -> bool:
        """Whether any weight of the selector is trained."""
        return any(parameter.requires_grad for parameter in self.selector.parameters())

    def _record(self, parameter: torch.Tensor) -> None:
        largest = parameter.grad.detach().abs().amax()
        if largest.device in self._largest:
            largest = torch.maximum(largest, self._largest[largest.device])
        self._largest[largest.device] = largest

    def pop(self) -> bool:
        """Whether a gradient arrived since the last call."""
        arrived = any(float(largest) != 0 for largest in self._largest.values())
        self._largest = {}
        return arrived

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()
