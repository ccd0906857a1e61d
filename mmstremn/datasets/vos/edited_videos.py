"""Long test videos edited from the sequences of any data set: a benchmark on which it matters what a memory
keeps."""

import inspect
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import cv2
import numpy as np

from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.datasets.vos.edit_scripts import Cast, EditStyle, Shot, draw_script
from mmstremn.registry import DATASETS, check_names
from mmstremn.structures.video import VOID, Video

Picture = tuple[np.ndarray, np.ndarray]
CLOSE = 0.6  # of the height and width that a close-up shows


def mirrored(frame: np.ndarray, mask: np.ndarray) -> Picture:
    """Left and right are exchanged."""
    return frame[:, ::-1], mask[:, ::-1]


def close(frame: np.ndarray, mask: np.ndarray) -> Picture:
    """A close-up that follows the object."""
    (height, width), (rows, columns) = mask.shape, np.nonzero(mask)
    shown = round(CLOSE * height), round(CLOSE * width)
    centre = (rows.mean(), columns.mean()) if len(rows) else (height / 2, width / 2)
    top, left = (
        int(np.clip(c - s / 2, 0, side - s)) for c, s, side in zip(centre, shown, mask.shape, strict=True)
    )
    window = slice(top, top + shown[0]), slice(left, left + shown[1])
    return (
        cv2.resize(frame[window], (width, height), interpolation=cv2.INTER_LINEAR),
        cv2.resize(mask[window], (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
    )


def dark(frame: np.ndarray, mask: np.ndarray) -> Picture:
    """Two fifths of the light."""
    return cv2.convertScaleAbs(frame, alpha=0.4), mask


def bright(frame: np.ndarray, mask: np.ndarray) -> Picture:
    """1.8 times the light; what is brighter than white is cut off."""
    return cv2.convertScaleAbs(frame, alpha=1.8), mask


def plain(frame: np.ndarray, mask: np.ndarray) -> Picture:
    """As it is."""
    return frame, mask


LOOKS: dict[str, Callable[[np.ndarray, np.ndarray], Picture]] = dict(
    plain=plain, mirrored=mirrored, close=close, dark=dark, bright=bright
)


class SourceSequence:
    """A sequence as edited videos show it: cut to one size, all its objects as one.

    Args:
        video: With a mask for every frame.
        size: (H, W); frames are scaled to cover it and cut at the middle.
        stride: Frames a step.
    """

    def __init__(self, video: Video, size: tuple[int, int], stride: int):
        self.video, self.size, self.stride = video, size, stride
        self.steps = (video.num_frames - 1) // stride + 1

    @property
    def name(self) -> str:
        return self.video.name

    def picture(self, index: int, look: str) -> Picture:
        """Frame ``index`` (H, W, 3), and its mask (H, W): 1 the object, 255 void."""
        mask = self.video.mask(index)
        if mask is None:
            raise ValueError(
                f"video '{self.name}': frame {index} has no mask, expected one for every frame to edit it"
            )
        one = np.where(mask == VOID, VOID, mask > 0).astype(np.uint8)
        frame = _covering(self.video.frame(index), self.size, cv2.INTER_AREA)
        return LOOKS[look](frame, _covering(one, self.size, cv2.INTER_NEAREST_EXACT))


def _covering(picture: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """Scaled to cover ``size``, the middle of it."""
    scale = max(side / own for side, own in zip(size, picture.shape[:2], strict=True))
    height, width = (max(side, round(scale * own)) for side, own in zip(size, picture.shape[:2], strict=True))
    picture = cv2.resize(picture, (width, height), interpolation=interpolation)
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return picture[top : top + size[0], left : left + size[1]]


class EditedVideo(Video):
    """A video of shots.

    Args:
        name: Of the video.
        sequences: Those of the data set.
        shots: In order.
    """

    def __init__(self, name: str, sequences: Sequence[SourceSequence], shots: Sequence[Shot]):
        self.name, self.sequences, self.shots = name, sequences, list(shots)
        self.stride, self.size = sequences[0].stride, sequences[0].size
        self.ends = list(accumulate(shot.length for shot in shots))  # in steps
        self.num_frames = self.ends[-1] * self.stride
        self._last: tuple[int, Picture] | None = None

    def frame(self, index: int) -> np.ndarray:
        return self._picture(index)[0]

    def mask(self, index: int) -> np.ndarray:
        return self._picture(index)[1]

    def shot_at(self, index: int) -> tuple[Shot, int]:
        """The shot of a frame, and the frame of its sequence."""
        if not 0 <= index < self.num_frames:
            raise IndexError(f"video '{self.name}' has frames 0..{self.num_frames - 1}, got {index}")
        place = bisect_right(self.ends, index // self.stride)
        shot = self.shots[place]
        offset = index - (self.ends[place] - shot.length) * self.stride
        last = (self.sequences[shot.source].steps - 1) * self.stride
        return shot, shot._replace(start=shot.start * self.stride).place(offset, last)

    def _picture(self, index: int) -> Picture:
        """The frame and its mask; the last is held, since both are asked for."""
        last = self._last
        if last is None or last[0] != index:
            last = self._last = index, self._render(index)
        return last[1]

    def _render(self, index: int) -> Picture:
        shot, place = self.shot_at(index)
        frame, mask = self.sequences[shot.source].picture(place, shot.look)
        table = np.zeros(256, np.uint8)
        if shot.object_id:
            table[[1, VOID]] = shot.object_id, VOID
        return np.ascontiguousarray(frame), table[mask]

    @cached_property
    def prompts(self) -> dict[int, np.ndarray]:
        """As in :class:`Video`, of the shots of each object alone: few masks are decoded."""
        prompts = {0: self.mask(0)}
        for number in sorted({shot.object_id for shot in self.shots} - {0}):
            frames = (index for index in self._frames_of(number) if (self.mask(index) == number).any())
            if (first := next(frames, None)) is not None:
                prompts[first] = np.where(self.mask(first) == number, number, 0).astype(np.uint8)
        return dict(sorted(prompts.items()))

    def _frames_of(self, number: int):
        for end, shot in zip(self.ends, self.shots, strict=True):
            if shot.object_id == number:
                yield from range((end - shot.length) * self.stride, end * self.stride)


@DATASETS.register_module()
class EditedVideoDataset(VOSDataset):
    """Whole videos in which the shots of several sequences take turns, each with an object of its own.

    An object is prompted when it first appears and asked for whenever it is back: more objects and looks than
    a memory has slots for, so that slots must be shared. Between them are foreign shots, some of look-alikes;
    shots are replayed, frozen, mirrored, dark, bright or close-ups. Where an object is away an empty mask is
    right. Everything follows from ``seed``: video i is the same whatever ``num_videos`` is.

    Args:
        dataset: Config of a data set of whole videos with a mask for every frame. All objects of a sequence
            count as one. Of sequences of the same name the first is taken.
        num_videos: How many are edited.
        num_frames: Least and most frames of a video, rounded down to whole steps.
        size: (H, W) to which all sequences are scaled and cut.
        stride: Frames a step: shots begin and end at whole steps, with every ``stride``-th frame of a
            sequence.
        style: Arguments of :class:`EditStyle`.
        classes: Names of sequences that show the same class, as lists; what is not named is alike to none.
        seed: Another one gives other videos.
        **kwargs: See ``VOSDataset``.

    Raises:
        ValueError: Too few sequences or frames, or an unknown look.
    """

    def __init__(
        self,
        dataset: dict,
        num_videos: int = 40,
        num_frames: tuple[int, int] = (300, 600),
        size: tuple[int, int] = (240, 432),
        stride: int = 5,
        style: dict | None = None,
        classes: Sequence[Sequence[str]] = (),
        seed: int = 0,
        **kwargs: Any,
    ):
        self.source, self.num_videos, self.num_frames = dataset, num_videos, tuple(num_frames)
        self.size, self.stride, self.seed = tuple(size), stride, seed
        check_names('EditedVideoDataset.style', style or {}, inspect.signature(EditStyle).parameters)
        self.style, self.classes = EditStyle(**(style or {})), [set(names) for names in classes]
        if unknown := set(self.style.looks) - set(LOOKS):
            raise ValueError(
                f'EditedVideoDataset.style.looks: unknown {sorted(unknown)}, expected names of {[*LOOKS]}'
            )
        if stride < 1 or self.num_frames[0] < stride:
            raise ValueError(
                f'EditedVideoDataset.num_frames: expected at least one step of {stride} frames, got '
                f'{self.num_frames}'
            )
        kwargs.setdefault('test_mode', True)
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """The edited videos."""
        source = DATASETS.build(self.source)
        found = [source[index]['inputs'] for index in range(len(source))]
        videos = list({video.name: video for video in reversed(found)}.values())[::-1]
        if len(videos) < self.style.objects[1]:
            raise ValueError(
                f'EditedVideoDataset: expected at least {self.style.objects[1]} sequences, one for each '
                f'object, got {len(videos)}'
            )
        sequences = [SourceSequence(video, self.size, self.stride) for video in videos]
        return [dict(video=self._edit(index, sequences)) for index in range(self.num_videos)]

    def _edit(self, index: int, sequences: Sequence[SourceSequence]) -> EditedVideo:
        rng = np.random.default_rng((self.seed, index))
        order = rng.permutation(len(sequences)).tolist()
        number = int(rng.integers(self.style.objects[0], self.style.objects[1] + 1))
        own, foreign = order[:number], order[number:]
        alike = [i for i in foreign if self._is_alike(sequences[i], [sequences[k] for k in own])]
        steps = int(rng.integers(self.num_frames[0], self.num_frames[1] + 1)) // self.stride
        lengths = [sequence.steps for sequence in sequences]
        shots = draw_script(steps, lengths, Cast(own, foreign, alike), self.style, rng)
        return EditedVideo(f'edited_{self.seed}_{index:03d}', sequences, shots)

    def _is_alike(self, one: SourceSequence, others: Sequence[SourceSequence]) -> bool:
        return any(one.name in names and other.name in names for names in self.classes for other in others)
