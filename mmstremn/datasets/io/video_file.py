"""A video file, or a folder of pictures, as a video."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from mmstremn.datasets.io.folders import PICTURES, check_text, is_path, is_picture, list_files
from mmstremn.datasets.io.images import check_frames, read_header, read_rgb
from mmstremn.datasets.io.masks import read_mask
from mmstremn.datasets.io.video_index import FrameIndex, decode, index_video, open_container, upright
from mmstremn.structures.video import Video

MAX_SKIPPED = 16  # frames decoded for nothing before seeking pays
MAX_SEEKS = 3  # key frames that are tried before the file is decoded from its start


def open_video(
    path: str | Path | Iterable[str | Path], first_mask: np.ndarray | str | Path | None = None
) -> Video:
    """``ImageFolder`` of a folder, ``ImageFiles`` of a list of pictures, ``VideoFile`` of anything else,
    decoded once to find damage before work is lost."""
    if not is_path(path):
        return ImageFiles(path, first_mask)
    return ImageFolder(path, first_mask) if Path(path).is_dir() else VideoFile(path, first_mask, check=True)


class _UnlabelledVideo(Video):
    """A video with at most one mask, that of its first frame."""

    def __init__(self, path: str | Path, first_mask: np.ndarray | str | Path | None = None):
        self.path = Path(path)
        self.name = self.path.resolve().name if self.path.is_dir() else self.path.stem
        self.size, self.num_frames = self._probe()
        self.first_mask = read_mask(first_mask) if is_path(first_mask) else first_mask
        if self.first_mask is not None and self.first_mask.shape != self.size:
            source = first_mask if is_path(first_mask) else 'first mask'
            raise ValueError(
                f'{source}: size {self.first_mask.shape}, expected {self.size} like the frames of {path}'
            )

    def _probe(self) -> tuple[tuple[int, int], int]:
        """(H, W) and the number of frames."""
        raise NotImplementedError

    @property
    def annotated(self) -> list[int]:
        return [] if self.first_mask is None else [0]

    def mask(self, index: int) -> np.ndarray | None:
        return self.first_mask if index == 0 else None


class ImageFolder(_UnlabelledVideo):
    """The pictures of a folder in natural order, upright.

    Attributes:
        files: The path of each frame.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There is no picture in it, two differ in their suffix alone or in their size, or a mask
            lies among them.
    """

    def _probe(self) -> tuple[tuple[int, int], int]:
        self.files = [str(path) for path in list_files(self.path)]
        if not self.files:
            raise ValueError(f'{self.path}: no pictures, expected {" or ".join(PICTURES)} files')
        return check_frames(self.files), len(self.files)

    def frame(self, index: int) -> np.ndarray:
        return read_rgb(self.files[index])


class ImageFiles(ImageFolder):
    """Pictures in the order in which their paths are given, upright; called like the folder of the first one.

    Args:
        files: Their paths.
        first_mask: (H, W) uint8 ids of the first one, or the path of a palette PNG.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no path, or one is none of a picture; two differ in their size, or a mask lies
            among them.
    """

    def __init__(self, files: Iterable[str | Path], first_mask: np.ndarray | str | Path | None = None):
        files = list(files)
        if not files:
            raise ValueError('expected the paths of pictures, got none')
        for index, path in enumerate(files):
            if not is_path(path) or not is_picture(Path(path)):
                raise ValueError(
                    f'frame {index} of {len(files)}: expected the path of a picture ({", ".join(PICTURES)}), '
                    f'as in all of the list, got {path!r:.200}'
                )
        self.files = [str(path) for path in files]
        super().__init__(Path(self.files[0]).parent, first_mask)

    def _probe(self) -> tuple[tuple[int, int], int]:
        return check_frames(self.files), len(self.files)


class VideoFile(_UnlabelledVideo):
    """A file that FFmpeg reads (mp4, avi, gif, ...), decoded lazily, upright as players show it.

    What can be decoded counts: packets that cannot (a recording that starts between key frames, a broken end)
    are left out. Frames asked for in ascending order cost one decoding each; others start again at a key
    frame before, and are the same. Files whose container does not tell frames reliably (avi, mpg, ts, flv,
    ...) are decoded once when they are opened. Safe to use from several threads, and to pickle.

    Args:
        path: The file.
        first_mask: (H, W) uint8 ids of frame 0, or the path of a palette PNG.
        check: Decode all of it once, also where the container is reliable, and leave out damaged frames in
            the middle, with a warning. Otherwise they raise when they are asked for.

    Attributes:
        rate: Frames a second, or None where the file does not tell.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has no video, or (when a frame is asked for) is damaged there.
    """

    rate: Fraction | None

    def __init__(
        self, path: str | Path, first_mask: np.ndarray | str | Path | None = None, check: bool = False
    ):
        self._check = check
        super().__init__(path, first_mask)

    def _probe(self) -> tuple[tuple[int, int], int]:
        if not self.path.is_file():
            raise FileNotFoundError(f'{self.path}: no such file, expected a video')
        check_text(self.path)
        self._index: FrameIndex = index_video(self.path, self._check)
        self.rate = self._index.rate
        self._restart()
        if is_picture(self.path) and len(self._index.frames) == 1:
            read_header(self.path)  # says where a picture holds several, of which FFmpeg reads the first
        return self._index.size, len(self._index.frames)

    @property
    def seconds(self) -> list[float] | None:
        """The time of each frame after the first; None where the file does not tell."""
        return self._index.seconds

    def frame(self, index: int) -> np.ndarray:
        if not 0 <= index < self.num_frames:
            raise IndexError(f'{self.path}: frame {index}, expected 0..{self.num_frames - 1}')
        with self._lock:
            try:
                frame = self._find(index)
            except av.FFmpegError as error:
                self._decoder = None
                raise self._damaged(index, str(error)) from error
        if frame is None:
            raise self._damaged(index, 'the file is damaged there')
        if frame.shape[:2] != self.size:
            raise ValueError(f'{self.path}: frame {index} has size {frame.shape[:2]}, expected {self.size}')
        return frame

    def _find(self, index: int) -> np.ndarray | None:
        """The frame, from where the decoder is, else from one of the key frames before it, else from the
        start of the file."""
        if self._decoder is not None and self._next <= index < self._next + MAX_SKIPPED:
            frame = self._skip_to(index)
            if frame is not None:
                return frame
        for start in [*self._index.starts(index)[:MAX_SEEKS], None]:
            self._decoder = self._frames_from(start, index)
            frame = self._skip_to(index)
            if frame is not None:
                return frame
        return None

    def _skip_to(self, index: int) -> np.ndarray | None:
        """The frame if the decoder comes to it."""
        for place, frame in self._decoder:
            self._next = place + 1
            if place >= index:
                return upright(frame, self.path, self._reformatter) if place == index else None
        self._decoder = None
        return None

    def _frames_from(self, start: tuple[int, int] | None, index: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their places, from a key frame (None: from the start of the file)."""
        with open_container(self.path, 0 if self._index.is_whole else 1) as (container, stream):
            if start is not None:
                try:
                    container.seek(start[1], stream=stream)
                except av.FFmpegError:  # a format that cannot be entered in between
                    return
            yield from self._index.placed(decode(container, stream), index, start)

    def _damaged(self, index: int, reason: str) -> ValueError:
        return ValueError(
            f'{self.path}: cannot decode frame {index}, expected {self.num_frames} frames ({reason})'
        )

    def _restart(self) -> None:
        self._lock, self._reformatter = Lock(), VideoReformatter()
        self._decoder, self._next = None, 0

    def __getstate__(self) -> dict:
        held = ('_lock', '_reformatter', '_decoder', '_next')
        return {key: value for key, value in self.__dict__.items() if key not in held}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._restart()
