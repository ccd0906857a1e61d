"""A training loop that goes on at the iteration it was stopped at, without replaying the data."""

from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from mmstremn.engine.random_state import preserved_random_state
from mmstremn.registry import LOOPS


class SeekingIterator:
    """The batches of a loader from any iteration on; the workers start with the first batch asked for.

    Args:
        dataloader: Its sampler is an ``IterationSampler``.

    Raises:
        TypeError: The sampler cannot start at an iteration, or a batch sampler hides the batch size.
    """

    def __init__(self, dataloader: DataLoader):
        if not hasattr(dataloader.sampler, 'start') or dataloader.batch_size is None:
            raise TypeError(
                "train_dataloader.sampler: SeekingIterTrainLoop expects dict(type='IterationSampler') and no "
                f'batch_sampler, got {type(dataloader.sampler).__name__}'
            )
        self.dataloader = dataloader
        self.dataloader.sampler.batch_size = dataloader.batch_size
        self._batches = None

    def seek(self, iteration: int) -> None:
        """Let the next batch be that of ``iteration``."""
        self.dataloader.sampler.start = iteration
        self._batches = None

    def __next__(self) -> dict:
        if self._batches is None:
            with preserved_random_state():  # a new iterator draws a seed for its workers
                self._batches = iter(self.dataloader)
        return next(self._batches)


@LOOPS.register_module()
class SeekingIterTrainLoop(IterBasedTrainLoop):
    """mmengine's ``IterBasedTrainLoop``, resumed exactly.

    The sampler starts at the iteration (mmengine replays the loader), validation draws no random number from
    training, and a validation that was due when the run was stopped is made up for.

    Args:
        runner: The runner.
        dataloader: The training loader or its config, with an ``IterationSampler``.
        max_iters: Iterations of the whole training.
        **kwargs: ``val_begin``, ``val_interval``, ``dynamic_intervals`` as in ``IterBasedTrainLoop``.
    """

    def __init__(self, runner, dataloader: DataLoader | dict, max_iters: int, **kwargs):
        super().__init__(runner, dataloader, max_iters, **kwargs)
        self.dataloader_iterator = SeekingIterator(self.dataloader)

    def run(self):
        """Train until ``max_iters``; returns the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self.dataloader_iterator.seek(self._iter)
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if self.runner.val_loop is None or self._iter < self.val_begin:
            return
        if self._iter % self.val_interval == 0 or self._iter == self._max_iters:
            with preserved_random_state():
                self.runner.val_loop.run()
