"""Predicting a video frame by frame, for any length."""

import operator

import numpy as np
import torch
from torch import Tensor

from mmstremn.memory import MemoryState
from mmstremn.models.prediction.given_frames import GivenFrames
from mmstremn.models.rollout import advance
from mmstremn.models.stream_files import (
    SavedStream,
    check_pixels,
    check_that_it_goes_on,
    describe_memory,
    naming,
    number,
    numbers,
    read_stream,
    restore_state,
    write_stream,
)

FORMAT = 'mmstremn.prediction_stream/1'
RANGE = -1.0, 2.0  # of frames in 0..1, with room for predictions that are fed back unclipped


class PredictionStream:
    """A running video: its memory and its last frames. It goes on for any length at constant memory.

    Attributes:
        state: The memory's state.
        index: Frames seen or predicted so far.
    """

    def __init__(self, model, seed: int = 0):
        self.model, self.seed = model.eval(), operator.index(seed)
        self.state: MemoryState | None = None
        self.index = 0
        self._window: list[Tensor] = []

    @torch.no_grad()
    def step(self, frame: Tensor | None = None) -> Tensor | None:
        """Predict the next frame.

        Args:
            frame: What it really was (C, H, W) in 0..1, to go on from; None: the stream goes on from the
                prediction.

        Returns:
            What the model predicted (C, H, W), not clipped; None for the first frame.

        Raises:
            TypeError: The frame holds no floats.
            ValueError: There is no first frame, or a frame has other channels than the model, another size
                than the first, or values that are not finite or far from 0..1. The stream is as it was.
        """
        given = None if frame is None else GivenFrames(self._checked(frame)[None])
        if given is None and self.state is None:
            raise ValueError('the first step of a stream needs a frame')
        window = self._window or [given.frames]  # type: ignore[union-attr]
        features = self.model.encode_window(window)
        output, self.state = advance(self.model, self.state, features, given, seeds=(self.seed,))
        self._window = [*self._window, output.taken][-self.model.query_frames :]
        self.index += 1
        return None if output.predicted is None else output.predicted[0]

    def save(self, path: str) -> None:
        """Write the stream to a safetensors file, to go on with it later or elsewhere
        (``VideoPredictor.load_stream``). The file is complete or not there at all.

        Raises:
            ValueError: The stream has not begun.
        """
        if self.state is None:
            raise ValueError(f"nothing to save in '{path}': the stream has seen no frame")
        about = dict(
            state=self.state.plain(), size=self._window[0].shape[1:], index=self.index, seed=self.seed
        )
        tensors = {f'window.{place}': frame for place, frame in enumerate(self._window)}
        tensors.update({f'state.{name}': tensor for name, tensor in self.state.tensors().items()})
        write_stream(path, FORMAT, kind_of(self.model), SavedStream(about, tensors))

    @classmethod
    def load(cls, model, path: str) -> 'PredictionStream':
        """Read a saved stream.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no stream, is damaged, or is one of a model whose memory has another type
                or other options, of other widths or another window.
        """
        saved = read_stream(path, FORMAT, kind_of(model), next(model.parameters()).device)
        with naming(path):
            return cls._unpacked(model, saved)

    @classmethod
    def _unpacked(cls, model, saved: SavedStream) -> 'PredictionStream':
        stream = cls(model, number(saved.about, 'seed', -(2**63), 2**64))
        stream.index = number(saved.about, 'index', 1)
        size = numbers(saved.about, 'size', 1, 2**20)
        if len(size) != 3:
            raise ValueError(f'size: expected (C, H, W), got {size}')
        check_pixels(*size[1:])
        parts: dict[str, dict[str, Tensor]] = dict(window={}, state={})
        for name, tensor in saved.tensors.items():
            part, _, field = name.partition('.')
            parts[part][field] = tensor
        blank = torch.zeros(size, device=next(model.parameters()).device)
        stream._window = _window(parts['window'], blank, min(stream.index, model.query_frames))

        def begin(objects: int) -> list[MemoryState]:
            fresh, states = cls(model, stream.seed), []
            for frame in (blank, None):
                fresh.step(frame)
                assert fresh.state is not None
                states.append(fresh.state.clone())
            return states

        own = SavedStream(saved.about, parts['state'])
        stream.state = restore_state(own, 1, stream.index, model.memory, begin)
        if not saved.intact:
            check_that_it_goes_on(stream, [lambda fork, f=f: fork.step(f) for f in (None, blank, None)])
        return stream

    def _checked(self, frame) -> Tensor:
        """(C, H, W) on the model's device."""
        if not isinstance(frame, (Tensor, np.ndarray)):
            raise TypeError(
                f'frame {self.index} must be a tensor of floats in 0..1, got {type(frame).__name__}'
            )
        if not isinstance(frame, Tensor):
            frame = torch.as_tensor(frame)
        if not frame.is_floating_point():
            raise TypeError(f'frame {self.index} must hold floats in 0..1, got {frame.dtype}')
        shape, channels = tuple(frame.shape), self.model.frame_channels
        if len(shape) != 3 or shape[0] != channels or not frame.numel():
            raise ValueError(f'frame {self.index} must be ({channels}, H, W), got {shape}')
        if self._window and shape != self._window[-1].shape[1:]:
            first = tuple(self._window[-1].shape[1:])
            raise ValueError(f'frame {self.index} is {shape}, but the stream began with {first} (C, H, W)')
        low, high = (bound.item() for bound in frame.aminmax())
        if not RANGE[0] <= low <= high <= RANGE[1]:
            raise ValueError(f'frame {self.index} must be in 0..1, got {low:.3g}..{high:.3g}')
        weight = next(self.model.parameters())
        return frame.to(weight.device, weight.dtype)


def _window(tensors: dict[str, Tensor], like: Tensor, number: int) -> list[Tensor]:
    """The last frames (1, C, H, W), oldest first."""
    names = [str(place) for place in range(number)]
    if set(tensors) != set(names):
        raise ValueError(f'window: expected the last {number} frames, got {sorted(tensors)}')
    for name in names:
        if tensors[name].shape != (1, *like.shape) or tensors[name].dtype != like.dtype:
            raise ValueError(
                f"tensor 'window.{name}': expected {like.dtype} {(1, *like.shape)}, got "
                f'{tensors[name].dtype} {tuple(tensors[name].shape)}'
            )
    return [tensors[name] for name in names]


def kind_of(model) -> dict:
    """What a file must agree on with the model, a VideoPredictor, that goes on with it."""
    return dict(
        memory=type(model.memory).__name__,
        needs_selection=model.memory.needs_selection,
        key_channels=model.key_channels,
        value_channels=model.value_channels,
        frame_channels=model.frame_channels,
        query_frames=model.query_frames,
        residual=model.residual,
        value_frame=model.value_frame,
        carry=model.carry,
        options=describe_memory(model.memory),
    )
