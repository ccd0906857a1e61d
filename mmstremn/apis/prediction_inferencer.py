"""Frames that follow those of a video, in a few lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from mmengine.config import Config

from mmstremn.apis.inference import init_predictor
from mmstremn.datasets.io.frame_sources import LiveVideo, iterate_run, open_source
from mmstremn.datasets.prediction.clips import ClipFormat
from mmstremn.models import VideoPredictor
from mmstremn.structures.video import Video
from mmstremn.utils.shipped_files import read_config


@dataclass
class PredictedFrame:
    """A frame that a model was given or that it predicted.

    Attributes:
        index: Of the frame in the video.
        frame: (H, W, C) uint8; C is 1 where the frames of the model are grey, else 3 (RGB).
        observed: Whether it was given.
        true: The video's own frame, likewise; None behind its end, and of predicted frames of a camera, a
            stream or an iterator.
    """

    index: int
    frame: np.ndarray
    observed: bool
    true: np.ndarray | None


class PredictionInferencer:
    """Predicts how videos go on.

    Args:
        model: A config or its path, or a model that is built already.
        weights: A checkpoint; needed unless ``model`` is built already.
        device: The first GPU if there is one, else the CPU, by default.

    Attributes:
        observe, steps, size: What a call takes where it is not told otherwise: those of the config's test
            data; without a config 10 and 10 frames at their own size.

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
        data: dict = {}
        if not isinstance(model, torch.nn.Module):
            if weights is None:
                raise ValueError(f'{model}: expected a checkpoint as weights: no predictor comes with some')
            config = read_config(model)
            data = (config.get('test_dataloader') or {}).get('dataset') or {}
            model = init_predictor(config, weights, device)
        self.model = cast(VideoPredictor, model)
        self.observe: int = data.get('input_frames', 10)
        self.steps: int = data.get('output_frames', 10)
        self.size = _pair(data.get('size'))

    def __call__(
        self,
        inputs: object,
        steps: int | None = None,
        observe: int | None = None,
        size: int | tuple[int, int] | None = None,
        crop: bool = False,
    ) -> Iterator[PredictedFrame]:
        """Predict the frames behind the first ``observe`` ones of a video.

        Args:
            inputs: Anything :func:`~mmstremn.datasets.io.frame_sources.open_source` takes.
            steps: Frames to predict; any number, at constant memory.
            observe: Frames that the model sees.
            size: (H, W), or a number for both, of the frames that it sees and gives.
            crop: Cut frames to the proportions of ``size``, do not stretch them.

        Returns:
            A generator of ``observe`` results that the model was given and ``steps`` that it predicted. The
            video is opened before it is returned.

        Raises:
            FileNotFoundError: There is no such video.
            ValueError: It is shorter than ``observe``, or a number is below 1.
        """
        steps = self.steps if steps is None else steps
        observe = self.observe if observe is None else observe
        size = _pair(size) or self.size
        numbers = dict(steps=steps, observe=observe) | dict(
            zip(('height', 'width'), size or (), strict=False)
        )
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f'{name}: expected at least 1, got {value}')
        if crop and size is None:
            raise ValueError('crop: expected a size, to whose proportions frames are cut')
        video = open_source(inputs)
        if not isinstance(video, LiveVideo) and video.num_frames < observe:
            raise ValueError(_too_short(video, video.num_frames, observe))
        return self._results(video, steps, observe, size, crop)

    def _results(
        self, video: Video | LiveVideo, steps: int, observe: int, size: tuple[int, int] | None, crop: bool
    ) -> Iterator[PredictedFrame]:
        frames = (
            iter(video)
            if isinstance(video, LiveVideo)
            else iterate_run(video, range(min(video.num_frames, observe + steps)))
        )
        stream, seen = None, 0
        for seen, frame in enumerate(islice(frames, observe), 1):
            given = self._prepared(frame, size, crop)
            tensor = torch.from_numpy(given).permute(2, 0, 1).float() / 255
            if stream is None:
                stream = self.model.start(tensor)
            else:
                stream.step(tensor)
            yield PredictedFrame(seen - 1, given, True, given)
        if stream is None or seen < observe:
            raise ValueError(_too_short(video, seen, observe))
        behind = iter(()) if isinstance(video, LiveVideo) else frames  # a camera is not waited for
        for index in range(observe, observe + steps):
            predicted = stream.step()
            assert predicted is not None  # of the first frame alone
            pixels = (predicted.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            true = next(behind, None)
            prepared = None if true is None else self._prepared(true, size, crop)
            yield PredictedFrame(index, pixels, False, prepared)

    def _prepared(self, frame: np.ndarray, size: tuple[int, int] | None, crop: bool) -> np.ndarray:
        """(H, W, C) uint8."""
        clip = ClipFormat(1, size or frame.shape[:2], self.model.frame_channels, crop=crop)
        converted = np.ascontiguousarray(clip.convert(frame))
        return converted.reshape(*converted.shape[:2], -1)


def _pair(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(H, W), of a side of squares too."""
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _too_short(video: Video | LiveVideo, frames: int, observe: int) -> str:
    place = getattr(video, 'path', video.name)
    return f'{place}: {frames} frames, expected at least the {observe} that the model is to see'
