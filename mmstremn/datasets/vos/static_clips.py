"""Training clips out of photographs: several views of one, with objects of others pasted in."""

import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torchvision import tv_tensors

from mmstremn.datasets.io.images import read_rgb, read_whole_size
from mmstremn.datasets.io.masks import read_mask
from mmstremn.datasets.samplers import SampleRequest
from mmstremn.datasets.vos.base import NoObjectError, VOSDataset
from mmstremn.datasets.vos.static_layouts import ImagePair, find_pairs
from mmstremn.datasets.vos.weighting import WeightedIndex
from mmstremn.registry import DATASETS, check_names
from mmstremn.structures.video import Video

TRIES = 20  # photographs in a row that cannot be used
LEAST_VISIBLE = 0.3  # share of an object's pixels that a pasted one must leave


class Photograph(Video):
    """A decoded picture and the mask of its object, as a video of one frame."""

    num_frames = 1

    def __init__(self, name: str, frame: np.ndarray, mask: np.ndarray):
        self.name, self._frame, self._mask = name, frame, mask
        self.size = mask.shape

    def frame(self, index: int) -> np.ndarray:
        return self._frame

    def mask(self, index: int) -> np.ndarray:
        return self._mask


@DATASETS.register_module()
class StaticClipDataset(VOSDataset):
    """Clips of ``clip_length`` views of a photograph, made by the pipeline's transforms; stage 1 of STM, STCN
    and XMem.

    Steps with ``per_frame=True`` move the object from view to view, the others are the same for the clip.
    Objects of other photographs are pasted in, each with its own run of the pipeline, so they move on their
    own and hide each other.

    Construction reads the headers and ends of all files.

    Args:
        sources: Collections, each a ``dict(data_root=..., layout='plain', weight=1)``: the layouts are those
            of ``find_pairs``; every pair is drawn ``weight`` times an epoch.
        clip_length: T.
        max_objects: In a clip there are 1 to this many objects, each number as often as the others; fewer
            where a pasted object would hide another one.
        on_corrupt: What to do with a pair that cannot be used (a file that is cut off or no picture, a mask
            of another size or without object): ``'raise'``, or ``'skip'``: leave it out, log its name once,
            and count it in ``skipped``. A pair of which a file is missing is always an error.
        **kwargs: See ``VOSDataset``.

    Attributes:
        skipped: What was wrong with each pair that was left out; of those found in training, in this process.

    Raises:
        FileNotFoundError: A folder, an image or its mask is missing.
        ValueError: An argument is wrong, or a pair cannot be used and ``on_corrupt`` is ``'raise'``.
    """

    def __init__(
        self,
        sources: Sequence[dict],
        clip_length: int = 3,
        max_objects: int = 1,
        on_corrupt: str = 'raise',
        **kwargs: Any,
    ):
        if on_corrupt not in ('raise', 'skip'):
            raise ValueError(f"StaticClipDataset.on_corrupt: expected 'raise' or 'skip', got '{on_corrupt}'")
        if not sources:
            raise ValueError(
                'StaticClipDataset.sources: expected at least one dict(data_root=..., layout=..., weight=...)'
            )
        for source in sources:
            check_names('StaticClipDataset.sources', source, inspect.signature(_source).parameters)
        self.sources = [_source(**source) for source in sources]
        self.on_corrupt = on_corrupt
        self.skipped: list[str] = []
        super().__init__(clip_length=clip_length, max_objects=max_objects, reverse_prob=0, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One ``dict(pair=ImagePair)`` per pair that can be used, source after source."""
        found = [find_pairs(Path(source['data_root']), source['layout']) for source in self.sources]
        usable = [self._usable(pairs) for pairs in found]
        if self.skipped:
            number = sum(map(len, found))
            self._log(f'{len(self.skipped)} of {number} pairs are skipped: ' + '; '.join(self.skipped))
        self.index = WeightedIndex(
            [len(pairs) for pairs in usable], [source['weight'] for source in self.sources]
        )
        self._starts = np.cumsum([0, *self.index.lengths]).tolist()
        return [dict(pair=pair) for pairs in usable for pair in pairs]

    def __len__(self) -> int:
        return len(self.index)

    def get_video(self, request: SampleRequest) -> Photograph:
        """The photograph that a request asks for, or where it is skipped the next one that can be used."""
        which, place = self.index.locate(request)
        for attempt in range(TRIES):
            index = self._starts[which] + (place + attempt) % self.index.lengths[which]
            pair = self.get_data_info(index)['pair']
            try:
                return load_photograph(pair)
            except ValueError as error:
                if self.on_corrupt == 'raise':
                    raise
                self._skip(str(error))
        raise ValueError(f'{TRIES} pairs in a row cannot be used; the last: {self.skipped[-1]}')

    def train_item(self, request: SampleRequest) -> dict:
        """See ``VOSDataset``; a photograph whose object no clip shows is one that cannot be used."""
        for attempt in range(TRIES):
            try:
                place = (request.index + attempt) % len(self)
                return self.draw_clip(request._replace(index=place), take_smaller=False)
            except NoObjectError as error:
                if self.on_corrupt == 'raise':
                    raise
                self._skip(str(error).partition(' (sample seed')[0])  # once a photograph, whatever was drawn
        raise ValueError(f'{TRIES} pairs in a row cannot be used; the last: {self.skipped[-1]}')

    def _draw_item(self, video: Video, request: SampleRequest, least_area: int) -> dict | None:
        *steps, pack = self.pipeline.transforms
        clip = self._run(steps, video, request)
        for _ in range(np.random.randint(self.max_objects)):
            index, seed = np.random.randint(len(self)), np.random.randint(2**31)
            other = self.get_video(SampleRequest(index, seed))
            clip = paste(clip, self._run(steps, other, request))
        return pack(clip | dict(min_object_area=least_area))

    def _run(self, steps: Sequence, video: Video, request: SampleRequest) -> dict:
        """The clip after ``steps``; one view goes through those that are the same for all."""
        clip = _views(self._load_clip(video, request), 1)
        for step in steps:
            if getattr(step, 'per_frame', True):
                clip = _views(clip, self.clip_length)
            clip = step(clip)
        return _views(clip, self.clip_length)

    def _usable(self, pairs: list[ImagePair]) -> list[ImagePair]:
        with ThreadPoolExecutor(max_workers=8) as pool:
            errors = list(pool.map(_find_error, pairs))
        for error in filter(None, errors):
            if self.on_corrupt == 'raise':
                raise error
            self.skipped.append(str(error))
        if all(errors):
            raise ValueError(f'none of {len(pairs)} pairs can be used; the last: {errors[-1]}')
        return [pair for pair, error in zip(pairs, errors, strict=True) if error is None]

    def _skip(self, reason: str) -> None:
        if reason not in self.skipped:
            self.skipped.append(reason)
            self._log(f'{reason}; the pair is skipped, it is the {len(self.skipped)}. one')

    def _log(self, message: str) -> None:
        print_log(f'StaticClipDataset: {message}', logger='current', level=30)


def _source(data_root: str, layout: str = 'plain', weight: float = 1) -> dict:
    return dict(data_root=data_root, layout=layout, weight=weight)


def load_photograph(pair: ImagePair) -> Photograph:
    """Decode a pair.

    Raises:
        ValueError: A file is no whole picture, the mask has another size than the image or shows no
            object.
    """
    frame, mask = read_rgb(pair.image), read_mask(pair.mask, single_object=True)
    _check_sizes(pair, frame.shape[:2], mask.shape)
    if not mask.any():
        raise ValueError(
            f'{pair.mask}: the mask shows no object, expected pixels above 0 (or from 128 up, where it is '
            'grey)'
        )
    return Photograph(pair.name, frame, mask)


def _find_error(pair: ImagePair) -> ValueError | None:
    try:
        _check_sizes(pair, read_whole_size(pair.image), read_whole_size(pair.mask))
    except ValueError as error:
        return error
    return None


def _check_sizes(pair: ImagePair, size: tuple[int, int], mask_size: tuple[int, int]) -> None:
    if size != mask_size:
        raise ValueError(
            f'{pair.mask}: {mask_size[1]} x {mask_size[0]} pixels, expected {size[1]} x {size[0]} like '
            f'{pair.image}'
        )


def _views(clip: dict, number: int) -> dict:
    """A clip whose frames are all the same, with another number of them."""
    if len(clip['frames']) == number:
        return clip
    frames, masks = (
        clip[key].as_subclass(torch.Tensor)[:1].repeat_interleave(number, 0) for key in ('frames', 'masks')
    )
    return clip | dict(
        frames=tv_tensors.Video(frames), masks=tv_tensors.Mask(masks), frame_indices=[0] * number
    )


def paste(clip: dict, other: dict) -> dict:
    """``clip`` with the object of ``other``, which comes to lie anywhere, over what is there; its id is the
    next one.

    The clip is returned as it is where less than ``LEAST_VISIBLE`` of an object would stay visible in the
    first frame.

    Raises:
        ValueError: The two differ in size.
    """
    frames, masks = clip['frames'].as_subclass(torch.Tensor), clip['masks'].as_subclass(torch.Tensor)
    height, width = masks.shape[-2:]
    if other['masks'].shape != masks.shape:
        raise ValueError(
            f"'{clip['video_name']}' and '{other['video_name']}': sizes {(height, width)} and "
            f'{tuple(other["masks"].shape[-2:])}, expected a pipeline after which all clips have one size '
            '(max_objects > 1)'
        )
    shift = [int(np.random.randint(-size // 3, size // 3 + 1)) for size in (height, width)]
    new_frames = _shifted(other['frames'].as_subclass(torch.Tensor), shift)
    pasted = _shifted(other['masks'].as_subclass(torch.Tensor), shift) == 1
    before = torch.bincount(masks[0].flatten(), minlength=256)[1:]
    after = torch.bincount(masks[0][~pasted[0]], minlength=256)[1:]
    if (after < LEAST_VISIBLE * before).any():
        return clip
    number = int(masks.max()) + 1
    return clip | dict(
        frames=tv_tensors.Video(torch.where(pasted.unsqueeze(1), new_frames, frames)),
        masks=tv_tensors.Mask(torch.where(pasted, masks.new_tensor(number), masks)),
    )


def _shifted(images: torch.Tensor, shift: Sequence[int]) -> torch.Tensor:
    """(..., H, W) moved down and right by ``shift`` pixels; zero where nothing comes from."""
    moved = images.roll(tuple(shift), (-2, -1))
    for dim, step in zip((-2, -1), shift, strict=True):
        if step:
            moved.narrow(dim, 0 if step > 0 else moved.shape[dim] + step, abs(step)).zero_()
    return moved
