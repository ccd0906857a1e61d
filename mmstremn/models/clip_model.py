"""The base of the models that run a memory over clips: mmengine's interface, the loop, the losses."""

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

from mmengine.model import BaseModel
from torch import Tensor

from mmstremn.memory import Memory, MemoryState
from mmstremn.models.rollout import Clip, run_clip, seeds_of


class ClipModel(BaseModel):
    """A subclass says what a clip is and what its outputs cost; here it is run, and the memory adds its own.

    Attributes:
        memory: Read and written once a frame.
        scheduled: The losses depend on the iteration.
    """

    memory: Memory
    scheduled = False

    def forward(
        self,
        inputs: Any,
        data_samples: Any = None,
        mode: Literal['loss', 'predict', 'tensor'] = 'tensor',
        iteration: int | None = None,
    ) -> Any:
        """mmengine's three modes.

        Args:
            inputs: From the data preprocessor.
            data_samples: One for each of the batch.
            mode: ``'loss'``: a dict of losses of clips; ``'predict'``: the samples with what was predicted;
                ``'tensor'``: the network's output.
            iteration: Of the training, for losses with a schedule; ``IterationHook`` hands it in.

        Raises:
            ValueError: Another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples, iteration)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            if inputs.ndim == 4:  # counters of operations give pictures (B, C, H, W): clips of two
                inputs = inputs[:, None].expand(-1, 2, -1, -1, -1)
            return self.tensor(inputs, data_samples)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got '{mode}'")

    def loss(self, inputs: Any, data_samples: list, iteration: int | None = None) -> dict[str, Tensor]:
        """Losses of clips, with what the memory adds to them.

        Args:
            inputs: Clips (B, T, C, H, W).
            data_samples: B.
            iteration: Of the training; None counts as 0.

        Raises:
            ValueError: The clips have a single frame, after which there is nothing to read.
        """
        if iteration is None and self.scheduled and self.training:
            warnings.warn(
                f'{type(self).__name__}.loss: no iteration was handed in, its schedule stays at iteration 0; '
                "in a runner add default_hooks=dict(iteration=dict(type='mmstremn.IterationHook'))",
                stacklevel=2,
            )
        iteration = iteration or 0
        clip = self.open_clip(inputs, data_samples, iteration)
        if clip.length < 2:
            raise ValueError(
                f'{type(self).__name__}.loss: expected clips of at least 2 frames, got {clip.length}: set '
                'clip_length of the training data set'
            )
        penalty = self.run(clip, data_samples)
        return self.clip_losses(clip, iteration) | penalty

    def run(
        self,
        clip: Clip,
        data_samples: list | None = None,
        watch: Callable[[MemoryState], object] | None = None,
    ) -> dict[str, Tensor]:
        """Run a clip, see :func:`~mmstremn.models.rollout.run_clip`; the samples' seeds are the memory's."""
        return run_clip(self, clip, seeds_of(data_samples), watch)

    @abstractmethod
    def open_clip(self, inputs: Any, data_samples: list, iteration: int) -> Clip:
        """The clip of a batch of training."""

    @abstractmethod
    def clip_losses(self, clip: Any, iteration: int) -> dict[str, Tensor]:
        """The losses of a clip that was run."""

    @abstractmethod
    def predict(self, inputs: Any, data_samples: list[Any]) -> list[Any]:
        """The samples with what was predicted."""

    @abstractmethod
    def tensor(self, inputs: Any, data_samples: Any) -> Tensor:
        """The network's output for clips."""
