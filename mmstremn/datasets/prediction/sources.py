"""Videos as numbered frames: a folder of pictures, some pictures of a folder, or a video file."""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.folders import PICTURES, list_files
from mmstremn.datasets.io.images import check_frames, read_header, read_rgb
from mmstremn.datasets.io.video_file import VideoFile
from mmstremn.datasets.io.video_index import open_container


class FrameSource(ABC):
    """A video whose frames have numbers; nothing is decoded before it is read.

    Attributes:
        name: Unique in its data set.
        path: The file or folder, for messages.
        numbers: (N,) int64, the numbers of the frames there are, ascending; there may be gaps.
    """

    name: str
    path: str
    numbers: np.ndarray

    @property
    @abstractmethod
    def channels(self) -> int:
        """1 if the video is stored as grey, 3 if in colour."""

    @abstractmethod
    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames of these numbers: uint8, all of one size, (H, W) grey or (H, W, 3) RGB."""

    def keep(self, numbers: np.ndarray) -> 'FrameSource':
        """The same video with only those frames that are in ``numbers``."""
        kept = copy.copy(self)
        kept.numbers = np.intersect1d(self.numbers, numbers)
        return kept


class VideoFrames(FrameSource):
    """A file that FFmpeg reads; its frames are numbered from ``first`` on.

    Raises like ``VideoFile``, and a ValueError where the file's header tells of more frames than the file
    holds: FFmpeg skips over damage in silence, and the frames behind it would get the numbers of others.
    """

    def __init__(self, path: str | Path, name: str, first: int = 0):
        self.path, self.name = str(path), name
        self.first = first
        self.video = VideoFile(path)
        self._check_complete()
        self.numbers = np.arange(first, first + self.video.num_frames)

    @property
    def channels(self) -> int:
        with open_container(Path(self.path)) as (_, stream):
            return 1 if (stream.codec_context.pix_fmt or '').startswith(('gray', 'mono')) else 3

    def _check_complete(self) -> None:
        with open_container(Path(self.path)) as (container, stream):
            told = stream.frames  # 0 where the format does not tell
            if told <= self.video.num_frames:
                return
            held = sum(
                packet.dts is not None for packet in container.demux(stream)
            )  # those that repeat a frame too
        if held < told:
            raise ValueError(
                f'{self.path}: holds {held} frames, its header tells of {told}: the file is damaged'
            )

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        video = copy.copy(self.video)  # its decoder ends with this reading, so no file stays open
        for number in numbers:
            yield video.frame(number - self.first)


class Pictures(FrameSource):
    """Picture files in a given order.

    Args:
        files: The path of each frame by its number.
        path: Their folder, for messages.
        name: The name of the video.
    """

    def __init__(self, files: dict[int, str], path: str | Path, name: str):
        self.path, self.name = str(path), name
        self.files = dict(sorted(files.items()))
        self.numbers = np.array(list(self.files), dtype=np.int64)

    @property
    def channels(self) -> int:
        return read_header(self.files[int(self.numbers[0])]).channels

    def check(self) -> None:
        """Compare the headers of all pictures.

        Raises:
            ValueError: One differs from the first in its size, or is grey where that is in colour; the
                message names it.
        """
        check_frames(list(self.files.values()))
        first = self.channels
        for path in self.files.values():
            if read_header(path).channels != first:
                kinds = {1: 'grey', 3: 'in colour'}
                raise ValueError(
                    f'{path}: the picture is {kinds[4 - first]}, the other frames of {self.path} are '
                    f'{kinds[first]}'
                )

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        shape = None
        for number in numbers:
            frame = read_rgb(self.files[number])
            shape = shape or frame.shape
            if frame.shape != shape:
                raise self._wrong_size(number, frame.shape[:2], shape[:2])
            yield frame

    def _wrong_size(self, number: int, size: tuple[int, int], expected: tuple[int, int]) -> ValueError:
        return ValueError(
            f'{self.files[int(number)]}: {size[1]} x {size[0]} pixels, expected {expected[1]} x '
            f'{expected[0]} '
            f'like the other frames of {self.path}'
        )


def check_pictures(sources: Iterable[FrameSource]) -> None:
    """``Pictures.check`` of all those among ``sources`` that are pictures."""
    read_each(Pictures.check, [source for source in sources if isinstance(source, Pictures)])


def picture_folder(folder: str | Path, name: str, numbered: bool = False, first: int = 0) -> Pictures:
    """The pictures of a folder in natural order.

    Args:
        folder: The folder.
        name: The name of the video.
        numbered: Keep the numbers at the ends of their names, so that a missing frame leaves a gap, instead
            of counting from ``first`` on.
        first: The number of the first frame where names have no numbers or do not count.

    Raises:
        ValueError: There is no picture.
    """
    paths = list_files(folder)
    if not paths:
        raise ValueError(f'{folder}: no pictures, expected {" or ".join(PICTURES)} files')
    numbers = [frame_number(path.stem) for path in paths]
    if not numbered or None in numbers or len(set(numbers)) < len(paths):
        numbers = range(first, first + len(paths))
    return Pictures({number: str(path) for number, path in zip(numbers, paths, strict=True)}, folder, name)


def frame_number(stem: str) -> int | None:
    """The digits at the end of a file's name without suffix; None where there are none."""
    digits = re.search(r'\d+$', stem)
    return int(digits[0]) if digits else None
