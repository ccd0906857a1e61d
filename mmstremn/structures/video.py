"""A video whose frames are decoded when asked for, and nothing else: what every data set gives to the
model."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from mmengine.logging import print_log

from mmstremn.structures.data_samples import VOID


class Video(ABC):
    """A video with (optional) masks, decoded lazily.

    Attributes:
        name: Unique in its data set; used for result folders.
        num_frames: T.
        size: (H, W) in pixels, the same for all frames.
    """

    name: str
    num_frames: int
    size: tuple[int, int]

    @abstractmethod
    def frame(self, index: int) -> np.ndarray:
        """Frame ``index`` as (H, W, 3) uint8 RGB."""

    @abstractmethod
    def mask(self, index: int) -> np.ndarray | None:
        """Ids of frame ``index`` as (H, W) uint8 (0 background, 255 void), or None where it is not
        annotated."""

    @property
    def annotated(self) -> Sequence[int]:
        """The frames that have a mask, ascending; known without decoding one."""
        return range(self.num_frames)

    @cached_property
    def prompts(self) -> dict[int, np.ndarray]:
        """The masks given to the model: for each frame where objects appear for the first time, those objects
        alone.

        Frame 0 is always among them where it is annotated. A mask that cannot be read, after one that shows
        an object, is logged and passed over: objects that it alone would show first are not followed.

        Raises:
            OSError, ValueError: No mask that shows an object can be read before one that cannot.
        """
        prompts, seen = {}, {0, VOID}
        for index in self.annotated:
            mask = self.mask(index) if seen <= {0, VOID} else self._mask_if_readable(index)
            if mask is None:
                continue
            new = sorted(mask_ids(mask) - seen)
            if new or index == 0:
                prompts[index] = np.where(np.isin(mask, new), mask, 0).astype(np.uint8)
                seen.update(new)
        return prompts

    def _mask_if_readable(self, index: int) -> np.ndarray | None:
        try:
            return self.mask(index)
        except (OSError, ValueError) as error:
            print_log(
                f"video '{self.name}', frame {index}: its mask cannot be read and prompts nothing: {error}",
                'current',
                logging.WARNING,
            )
            return None

    @property
    def object_ids(self) -> list[int]:
        """The ids of all prompts, ascending."""
        ids = set()
        for mask in self.prompts.values():
            ids.update(mask_ids(mask))
        return sorted(ids - {0, VOID})


def mask_ids(mask: np.ndarray) -> set[int]:
    """The values in an (H, W) uint8 mask (several times as fast as sorting its pixels)."""
    return set(np.bincount(mask.ravel(), minlength=256).nonzero()[0].tolist())


def iterate_frames(video: Video, prefetch: int = 2) -> Iterator[np.ndarray]:
    """The frames of a video in order, at most ``prefetch`` + 1 of them in memory, decoded ahead by one
    thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = [pool.submit(video.frame, index) for index in range(min(prefetch, video.num_frames))]
        for index in range(video.num_frames):
            if index + prefetch < video.num_frames:
                pending.append(pool.submit(video.frame, index + prefetch))
            yield pending.pop(0).result()
