"""Values that change while training runs, each a function of the iteration alone, so that resuming is
exact."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmstremn.memory import GumbelSelector
from mmstremn.models.clip_model import ClipModel
from mmstremn.registry import HOOKS


@HOOKS.register_module()
class IterationHook(Hook):
    """Hand the iteration in with every training batch of a model whose losses may depend on it."""

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, ClipModel) and data_batch is not None:
            data_batch['iteration'] = runner.iter


@HOOKS.register_module()
class GumbelTemperatureHook(Hook):
    """Anneal the temperature of every ``GumbelSelector`` of the model; logged as
    ``train/selector/temperature``.

    Args:
        start: Temperature until ``begin_iter``.
        end: Temperature from ``end_iter`` on.
        begin_iter: First iteration of the change.
        end_iter: Last iteration of the change; the end of training if None.
        mode: ``'exponential'`` (a constant ratio between iterations) or ``'linear'``.

    Raises:
        ValueError: An unknown mode or a temperature that is not positive.
    """

    def __init__(
        self,
        start: float = 1.0,
        end: float = 0.1,
        begin_iter: int = 0,
        end_iter: int | None = None,
        mode: str = 'exponential',
    ):
        if mode not in ('exponential', 'linear'):
            raise ValueError(f"GumbelTemperatureHook: expected mode 'exponential' or 'linear', got '{mode}'")
        if min(start, end) <= 0:
            raise ValueError(
                f'GumbelTemperatureHook: expected temperatures > 0, got start={start}, end={end}'
            )
        self.start, self.end = start, end
        self.begin_iter, self.end_iter = begin_iter, end_iter
        self.mode = mode

    def temperature(self, iteration: int, max_iters: int) -> float:
        """The temperature at an iteration of a training of ``max_iters``."""
        last = max_iters - 1 if self.end_iter is None else self.end_iter
        progress = (iteration - self.begin_iter) / max(last - self.begin_iter, 1)
        progress = min(max(progress, 0.0), 1.0)
        if self.mode == 'linear':
            return self.start + (self.end - self.start) * progress
        return self.start * (self.end / self.start) ** progress

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        temperature = self.temperature(runner.iter, runner.max_iters)
        for module in runner.model.modules():
            if isinstance(module, GumbelSelector):
                module.temperature = temperature
        runner.message_hub.update_scalar('train/selector/temperature', temperature)


@HOOKS.register_module()
class ClipSkipHook(Hook):
    """Schedule the largest step between the frames of a training clip.

    Args:
        schedule: Pairs of first iteration and skip, ascending. First iterations that are floats are fractions
            of the
            training: ``[(0.0, 5), (0.1, 10), (0.8, 5)]``.

    Raises:
        ValueError: The schedule does not ascend or a skip is below 1.
    """

    def __init__(self, schedule: Sequence[tuple[int | float, int]]):
        firsts = [first for first, _ in schedule]
        if not firsts or firsts != sorted(set(firsts)) or min(skip for _, skip in schedule) < 1:
            raise ValueError(
                f'ClipSkipHook: expected ascending pairs (first iteration, skip >= 1), got {schedule}'
            )
        self.schedule = schedule

    def before_train(self, runner) -> None:
        runner.train_dataloader.sampler.skip_schedule = [
            (round(first * runner.max_iters) if isinstance(first, float) else first, skip)
            for first, skip in self.schedule
        ]
