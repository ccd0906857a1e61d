"""Stop a training whose loss is no longer a number, before a broken checkpoint replaces a good one."""

import torch
from mmengine.hooks import Hook

from mmstremn.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Looks at the losses every ``interval`` iterations and before each checkpoint.

    Args:
        interval: Iterations between looks; each waits for the device.

    Raises:
        FloatingPointError: A loss is NaN or infinite; the message names it and the iteration.
    """

    priority = 'HIGH'  # before the checkpoint hook

    def __init__(self, interval: int = 20):
        self.interval = interval
        self._last: dict[str, torch.Tensor] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._last = {
            name: value for name, value in (outputs or {}).items() if isinstance(value, torch.Tensor)
        }
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner.iter)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._check(runner.iter)

    def _check(self, iteration: int) -> None:
        broken = {name: float(value) for name, value in self._last.items() if not torch.isfinite(value).all()}
        if broken:
            raise FloatingPointError(
                f'iteration {iteration}: the loss is not finite ({broken}); expected finite values. Lower '
                'the learning rate '
                'or look at the batch; the last checkpoint is untouched'
            )
