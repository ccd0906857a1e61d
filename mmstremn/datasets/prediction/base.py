"""What all data sets of video prediction have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from mmstremn.datasets.prediction.clips import Clips
from mmstremn.datasets.samplers import SampleRequest
from mmstremn.structures import PredictionDataSample

SPLITS = ('train', 'dev', 'test')


class PredictionDataset(BaseDataset):
    """Clips of ``input_frames`` frames to see and ``output_frames`` to predict. Subclasses write
    ``load_clips``.

    An item is ``dict(inputs=(T, C, H, W) uint8 frames, data_samples=PredictionDataSample)`` with T = input +
    output, in every split. An item of 'train' is drawn anew at each visit, by ``request.seed`` alone; those
    of 'dev', which is there to choose checkpoints and settings, and 'test' are fixed.

    Args:
        split: 'train', 'dev' or 'test'.
        input_frames, output_frames: How many frames are given and predicted.
        size: Side of square frames, or (H, W), in pixels.
        max_clips: Keep at most this many clips, spread evenly over the split (a short 'dev').
        **kwargs: ``BaseDataset``'s.

    Raises:
        ValueError: An argument is out of range, or the data cannot give such clips; the message names what is
            wrong.
    """

    def __init__(
        self,
        split: str = 'train',
        input_frames: int = 10,
        output_frames: int = 10,
        size: int | Sequence[int] = 64,
        max_clips: int | None = None,
        **kwargs: Any,
    ):
        if split not in SPLITS:
            raise ValueError(f"split '{split}' is none of {', '.join(SPLITS)}")
        for name, value in dict(
            input_frames=input_frames, output_frames=output_frames, max_clips=max_clips
        ).items():
            if value is not None and value < 1:
                raise ValueError(f'{name} must be 1 or more, got {value}')
        self.split = split
        self.input_frames = input_frames
        self.output_frames = output_frames
        self.max_clips = max_clips
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 16:
            raise ValueError(f'size must be the side or the (H, W) of frames, at least 16 pixels, got {size}')
        super().__init__(test_mode=split != 'train', **kwargs)

    @property
    def num_frames(self) -> int:
        """T, the frames of a clip."""
        return self.input_frames + self.output_frames

    @abstractmethod
    def load_clips(self) -> Clips:
        """The clips of the split."""

    def load_data_list(self) -> list[dict]:
        """One entry a clip: its place among the clips, which are kept as ``self.clips``."""
        self.clips = self.load_clips()
        count = len(self.clips)
        kept = count if self.max_clips is None else min(count, self.max_clips)
        return [dict(place=place * count // kept) for place in range(kept)]

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = SampleRequest(int(request), int(request))
        place = self.get_data_info(request.index)['place']
        name, frames, notes = self.clips.read_with_notes(place, request.seed)
        about = dict(clip_name=name, input_frames=self.input_frames, sample_seed=request.seed)
        sample = PredictionDataSample(metainfo=about | notes)
        return dict(inputs=as_tensor(frames), data_samples=sample)


def as_tensor(frames: np.ndarray) -> torch.Tensor:
    """(T, C, H, W) uint8 of grey (T, H, W) or colour (T, H, W, 3) frames."""
    frames = torch.from_numpy(np.ascontiguousarray(frames))
    return frames.unsqueeze(1) if frames.ndim == 3 else frames.permute(0, 3, 1, 2).contiguous()
