"""Training clips and whole test videos out of any collection of videos with masks."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torchvision import tv_tensors

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.datasets.vos.foreign_shots import VideoWithForeignShots
from mmstremn.datasets.vos.transforms import PackClip
from mmstremn.registry import TRANSFORMS, build
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import VOID, Video, mask_ids
from mmstremn.utils.seeding import seeded

TRIES = 30  # a crop misses a small object at a border one time in three; that must not end a long training
STRICT_TRIES = 10  # after them smaller objects are taken too
VIDEO_TRIES = 20  # videos in a row of which no clip shows an object


class NoObjectError(ValueError):
    """No clip of a video shows an object in its first frame."""


class VOSDataset(BaseDataset):
    """Videos with masks. Subclasses write ``load_data_list``, which returns a list of
    ``dict(video=<Video>)``.

    Training (``dataset[request]``): frames are drawn, decoded and given to the pipeline as ``dict(frames,
    masks, ...)``; its last step, ``PackClip`` (added where it is missing), chooses the objects. Everything
    random is a function of ``request.seed``. A clip whose first frame shows no object is drawn again. Where
    ten clips show none of ``min_object_area`` pixels smaller ones are taken, and a video of which no clip
    shows any is left out for the next one; the log names and counts both.

    Testing (``dataset[index]``): the video itself, as ``inputs``; frames are decoded when the model asks for
    them.

    Args:
        clip_length: T, frames of a training clip.
        max_skip: The largest step between frames of a clip; a request may set another.
        frame_step: The largest step is divided by it, to count annotated frames (5 where every 5th is
            annotated).
        max_objects: More objects than these are background in a clip.
        pipeline: Steps from ``results`` to ``results`` (configs or callables).
        test_mode: Whole videos instead of clips.
        reverse_prob: How often a clip runs backwards. It also does where only its last frame shows an object.
        min_object_area: Pixels that an object needs in the first frame of the transformed clip, if any has.
        void_before_first: Before the first frame in which an object of the clip is labelled, background is
            void: the object may be there all the same.
        foreign_shots: Shots of the data set's other videos are put between those of each test video:
            ``shot_length`` and ``foreign_length`` of :class:`VideoWithForeignShots`. None: as they are.
        **kwargs: ``BaseDataset``'s.

    Raises:
        ValueError: The masks of a video are not usable; the message names it.
    """

    def __init__(
        self,
        clip_length: int = 3,
        max_skip: int = 5,
        max_objects: int = 3,
        pipeline: Iterable = (),
        test_mode: bool = False,
        reverse_prob: float = 0.5,
        min_object_area: int = 64,
        frame_step: int = 1,
        void_before_first: bool = False,
        foreign_shots: dict | None = None,
        **kwargs: Any,
    ):
        self.clip_length = clip_length
        self.max_skip = max_skip
        self.max_objects = max_objects
        self.reverse_prob = reverse_prob
        self.min_object_area = min_object_area
        self.frame_step = frame_step
        self.void_before_first = void_before_first
        self.foreign_shots = foreign_shots
        self.small: set[str] = set()
        self.passed_over: set[str] = set()
        steps = [build(step, TRANSFORMS) for step in pipeline]
        if not (steps and isinstance(steps[-1], PackClip)):
            steps.append(PackClip())
        super().__init__(pipeline=steps, test_mode=test_mode, **kwargs)

    def get_video(self, request: SampleRequest) -> Video:
        """The video that a request asks for."""
        return self.get_data_info(request.index)['video']

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = SampleRequest(int(request), int(request))
        return self.test_item(request) if self.test_mode else self.train_item(request)

    def test_item(self, request: SampleRequest) -> dict:
        """``dict(inputs=video, data_samples=sample)``, the ids of the video's objects in the sample's
        metainfo."""
        video = self.get_video(request)
        if self.foreign_shots is not None:
            video = VideoWithForeignShots(video, self._other_videos(request), **self.foreign_shots)
        if not video.object_ids:
            raise ValueError(
                f"video '{video.name}': no mask shows an object, expected at least one to follow"
            )
        metainfo = dict(video_name=video.name, object_ids=video.object_ids, num_frames=video.num_frames)
        return dict(inputs=video, data_samples=VOSDataSample(metainfo=metainfo))

    def _other_videos(self, request: SampleRequest) -> list[Video]:
        """All videos but the one of the request, in order from the next one on."""
        places = range(request.index + 1, request.index + len(self))
        return [self.get_video(request._replace(index=place % len(self))) for place in places]

    def train_item(self, request: SampleRequest) -> dict:
        """``dict(inputs=(T, 3, H, W) uint8, data_samples=sample with masks (T, H, W) uint8)``."""
        for attempt in range(min(len(self), VIDEO_TRIES)):
            try:
                return self.draw_clip(request._replace(index=(request.index + attempt) % len(self)))
            except NoObjectError as error:
                last = error
                self._pass_over(error)
        raise last

    def draw_clip(self, request: SampleRequest, take_smaller: bool = True) -> dict:
        """An item of the one video that a request asks for.

        Raises:
            NoObjectError: No clip shows an object (of ``min_object_area`` pixels, unless ``take_smaller``).
        """
        video = self.get_video(request)
        with seeded(request.seed):
            for attempt in range(TRIES):
                least = self.min_object_area >> (max(0, attempt + 1 - STRICT_TRIES) if take_smaller else 0)
                item = self._draw_item(video, request, max(1, least))
                if item is not None:
                    if attempt >= STRICT_TRIES and take_smaller:
                        self._warn_small(video, max(1, least))
                    return item
        raise NoObjectError(
            f"video '{video.name}': {TRIES} clips drawn and transformed, none shows an object of "
            f'{1 if take_smaller else self.min_object_area} pixels or more in its first frame (sample seed '
            f'{request.seed}): set min_object_area, short_side or the pipeline for such objects'
        )

    def _warn_small(self, video: Video, least: int) -> None:
        if video.name not in self.small:
            self.small.add(video.name)
            self._warn(
                f"video '{video.name}': {STRICT_TRIES} clips in a row show no object of min_object_area="
                f'{self.min_object_area} pixels, objects of {least} pixels are taken; lower min_object_area '
                f'or raise short_side. Such videos so far: {len(self.small)} of {len(self)}'
            )

    def _pass_over(self, error: NoObjectError) -> None:
        reason = str(error).partition(' (sample seed')[0]  # once a video, whatever was drawn
        if reason not in self.passed_over:
            self.passed_over.add(reason)
            self._warn(f'{reason}; the next video is taken. Such videos so far: {len(self.passed_over)}')

    def _warn(self, message: str) -> None:
        print_log(f'{type(self).__name__}: {message}', logger='current', level=logging.WARNING)

    def first_frames(self, video: Video) -> dict[int, int]:
        """The frame in which each object of a video is labelled for the first time (decodes all of its
        masks)."""
        return {k: index for index, mask in video.prompts.items() for k in mask_ids(mask) - {0, VOID}}

    def _draw_item(self, video: Video, request: SampleRequest, least_area: int) -> dict | None:
        return self.pipeline(self._load_clip(video, request) | dict(min_object_area=least_area))

    def _load_clip(self, video: Video, request: SampleRequest) -> dict:
        if not video.annotated:
            raise ValueError(f"video '{video.name}': no frame has a mask, expected at least one")
        skip = self.max_skip if request.max_skip is None else request.max_skip
        indices = draw_frames(video.annotated, self.clip_length, max(1, skip // self.frame_step))
        if np.random.random() < self.reverse_prob:
            indices = indices[::-1]
        decoded = {index: (video.frame(index), video.mask(index)) for index in sorted(set(indices))}
        if not _shows_object(decoded[indices[0]][1]) and _shows_object(decoded[indices[-1]][1]):
            indices = indices[::-1]
        frames = np.stack([decoded[index][0] for index in indices])
        masks = np.stack([decoded[index][1] for index in indices])
        return dict(
            frames=tv_tensors.Video(torch.from_numpy(frames).permute(0, 3, 1, 2)),
            masks=tv_tensors.Mask(torch.from_numpy(masks)),
            video_name=video.name,
            frame_indices=indices,
            sample_seed=request.seed,
            max_objects=self.max_objects,
            first_frames=self.first_frames(video) if self.void_before_first else {},
        )


def _shows_object(mask: np.ndarray) -> bool:
    return bool(((mask > 0) & (mask < VOID)).any())


def draw_frames(annotated: Sequence[int], clip_length: int, max_skip: int) -> list[int]:
    """Ascending frames of a clip, drawn from those annotated by numpy's global generator.

    Steps are uniform in 1..``max_skip``, or in the largest range that fits into the video. A video with fewer
    frames than the clip is played back and forth.
    """
    count = len(annotated)
    if count < clip_length:
        return [annotated[place] for place in _back_and_forth(np.random.randint(count), clip_length, count)]
    largest = max(1, min(max_skip, (count - 1) // max(1, clip_length - 1)))
    offsets = np.cumsum([0, *np.random.randint(1, largest + 1, clip_length - 1)])
    start = np.random.randint(count - offsets[-1])
    return [annotated[start + offset] for offset in offsets]


def _back_and_forth(start: int, length: int, count: int) -> list[int]:
    period = max(1, 2 * (count - 1))
    places = [(start + step) % period for step in range(length)]
    return [min(place, period - place) if count > 1 else 0 for place in places]
