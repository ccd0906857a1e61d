"""Frames that follow those of a video, in a few lines."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmstremn.apis.inference import init_predictor
from mmstremn.datasets.io.frame_sources import LiveVideo, iterate_run, open_source
from mmstremn.models import VideoPredictor


class PredictionInferencer:
    """Predicts how videos go on.

    Args:
        model: A config or its path, or a model that is built already.
        weights: A checkpoint; needed unless ``model`` is built already.
        device: The first GPU if there is one, else the CPU, by default.

    Raises:
        FileNotFoundError: There is no such config or checkpoint.
        ValueError: A config without weights, or of no predictor.
    """

    def __init__(
        self,
        model: str | Path | Config | VideoPredictor,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
    ):
        if not isinstance(model, torch.nn.Module):
            if weights is None:
                raise ValueError(f'{model}: expected a checkpoint as weights: no predictor comes with some')
            model = init_predictor(model, weights, device)
        self.model = cast(VideoPredictor, model)

    def __call__(
        self, inputs: object, steps: int, observe: int = 10, size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """Predict the frames behind the first ``observe`` ones of a video.

        Args:
            inputs: Anything :func:`~mmstremn.datasets.io.frame_sources.open_source` takes.
            steps: Frames to predict; any number, at constant memory.
            observe: Frames that the model sees.
            size: (H, W) to which frames are resized by area; None: their own.

        Returns:
            A generator of (H, W, C) uint8 frames. The video is opened before it is returned.

        Raises:
            FileNotFoundError: There is no such video.
            ValueError: It is shorter than ``observe``, or a number is below 1.
        """
        for name, value in dict(steps=steps, observe=observe).items():
            if value < 1:
                raise ValueError(f'{name}: expected at least 1, got {value}')
        video = open_source(inputs)
        if not isinstance(video, LiveVideo) and video.num_frames < observe:
            raise ValueError(
                f'{video.name}: {video.num_frames} frames, expected at least the {observe} that the model is '
                'to see'
            )
        frames = iter(video) if isinstance(video, LiveVideo) else iterate_run(video, range(observe))
        return self._predicted(video.name, islice(frames, observe), steps, observe, size)

    def _predicted(
        self, name: str, frames: Iterator[np.ndarray], steps: int, observe: int, size: tuple[int, int] | None
    ) -> Iterator[np.ndarray]:
        stream, seen = None, 0
        for frame in frames:
            seen += 1
            given = self._prepared(frame, size)
            if stream is None:
                stream = self.model.start(given)
            else:
                stream.step(given)
        if stream is None or seen < observe:
            raise ValueError(
                f'{name}: {seen} frames, expected at least the {observe} that the model is to see'
            )
        for _ in range(steps):
            predicted = stream.step()
            assert predicted is not None  # of the first frame alone
            yield (predicted.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _prepared(self, frame: np.ndarray, size: tuple[int, int] | None) -> Tensor:
        """(C, H, W) in 0..1."""
        if self.model.frame_channels == 1:
            frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None]
        if size is not None and frame.shape[:2] != tuple(size):
            resized = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA)
            frame = resized.reshape(*size, -1)
        return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 255
