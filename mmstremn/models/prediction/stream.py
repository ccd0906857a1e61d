"""Predicting a video frame by frame, for any length."""

from collections import deque

import torch
from torch import Tensor

from mmstremn.models.prediction.given_frames import GivenFrames
from mmstremn.models.rollout import advance


class PredictionStream:
    """A running video: its memory and its last frames. It goes on for any length at constant memory.

    Attributes:
        state: The memory's state.
        index: Frames seen or predicted so far.
    """

    def __init__(self, model, seed: int = 0):
        self.model, self.seed = model.eval(), seed
        self.state, self.index = None, 0
        self._window: deque[Tensor] = deque(maxlen=model.query_frames)

    @torch.no_grad()
    def step(self, frame: Tensor | None = None) -> Tensor | None:
        """Predict the next frame.

        Args:
            frame: What it really was (C, H, W) in 0..1, to go on from; None: the stream goes on from the
                prediction.

        Returns:
            What the model predicted (C, H, W), not clipped; None for the first frame.

        Raises:
            ValueError: There is no first frame, or a frame has another size than the first.
        """
        given = None
        if frame is not None:
            device = next(self.model.parameters()).device
            given = GivenFrames(frame.to(device)[None])
            if self._window and given.frames.shape != self._window[-1].shape:
                first = tuple(self._window[-1].shape[1:])
                raise ValueError(
                    f'frame {self.index} is {tuple(frame.shape)}, but the stream began with {first} (C, H, W)'
                )
        elif self.state is None:
            raise ValueError('the first step of a stream needs a frame')
        features = self.model.encode_window(list(self._window) or [given.frames])
        output, self.state = advance(self.model, self.state, features, given, seeds=(self.seed,))
        self._window.append(output.taken)
        self.index += 1
        return None if output.predicted is None else output.predicted[0]
