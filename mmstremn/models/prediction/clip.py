"""A clip of video prediction: frames, which of them are given, and what the model makes of them."""

from collections import deque
from typing import Any

import torch
from torch import Tensor

from mmstremn.models.prediction.decoders import Prediction
from mmstremn.models.prediction.given_frames import GivenFrames


class FrameClip:
    """T frames, some of which are given; the window of the next one moves over them.

    Args:
        model: A VideoPredictor.
        frames: (B, T, C, H, W) in 0..1; those that are not given are not looked at.
        given: For each frame whether the video goes on from the true one: True, False or (B,) bool.
        observed: Number of frames that come before the first to predict.
    """

    def __init__(self, model: Any, frames: Tensor, given: list[bool | Tensor], observed: int = 1):
        self.model, self.frames, self.given, self.observed = model, frames, given, observed
        self._window: deque[Tensor] = deque(maxlen=model.query_frames)
        self._predicted: list[Tensor] = []

    @property
    def length(self) -> int:
        """T."""
        return self.frames.shape[1]

    @property
    def predictions(self) -> Tensor:
        """(B, T - 1, C, H, W), of every frame but the first."""
        return torch.stack(self._predicted, 1)

    def frame(self, index: int) -> tuple[Any, GivenFrames | None]:
        """The features of the window before a frame, and the frame if it is given."""
        features = self.model.encode_window(list(self._window) or [self.frames[:, 0]])
        given = self.given[index]
        if isinstance(given, Tensor):
            return features, GivenFrames(self.frames[:, index], given)
        return features, GivenFrames(self.frames[:, index]) if given else None

    def take(self, output: Prediction) -> None:
        """Keep the predicted frame, and go on from the one that counts."""
        self._window.append(output.taken)
        if output.predicted is not None:
            self._predicted.append(output.predicted)
