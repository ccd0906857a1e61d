"""What the learned selector does while it trains, and a warning where it does not learn."""

from mmengine.hooks import Hook

from mmstremn.memory import GumbelSelector
from mmstremn.models.gradient_watch import GradientWatch
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
        self.selectors = [(name, selector, GradientWatch(selector)) for name, selector in modules]

    def after_train(self, runner) -> None:
        for _, _, watch in self.selectors:
            watch.close()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            for index, (_, selector, _) in enumerate(self.selectors):
                prefix = 'selector' if len(self.selectors) == 1 else f'selector{index}'
                for name, value in selector.pop_statistics().items():
                    runner.message_hub.update_scalar(f'train/{prefix}/{name}', value)
        if self.every_n_train_iters(runner, self.patience):
            for name, selector, watch in self.selectors:
                trainable = any(parameter.requires_grad for parameter in selector.parameters())
                if trainable and not watch.pop():
                    runner.logger.warning(
                        f"the selector '{name}' got no gradient in the last {self.patience} "
                        'iterations: it does '
                        'not learn. Its clips need more frames than the memory has slots, or it should be '
                        'frozen.'
                    )
