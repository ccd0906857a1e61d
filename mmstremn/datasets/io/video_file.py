"""A video file, or a folder of pictures, as a video."""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import av
import numpy as np

from mmstremn.datasets.io.images import read_header, read_rgb
from mmstremn.datasets.io.masks import read_mask
from mmstremn.datasets.vos.davis_layout import FRAME_SUFFIXES
from mmstremn.structures.video import Video

MAX_SKIPPED = 16  # frames decoded for nothing before seeking pays


def open_video(path: str | Path, first_mask: np.ndarray | str | Path | None = None) -> Video:
    """``ImageFolder`` of a folder, ``VideoFile`` of anything else."""
    return (ImageFolder if Path(path).is_dir() else VideoFile)(path, first_mask)


class _UnlabelledVideo(Video):
    """A video with at most one mask, that of its first frame."""

    def __init__(self, path: str | Path, first_mask: np.ndarray | str | Path | None = None):
        self.path = Path(path)
        self.name = self.path.stem
        self.size, self.num_frames = self._probe()
        self.first_mask = read_mask(first_mask) if isinstance(first_mask, (str, Path)) else first_mask
        if self.first_mask is not None and self.first_mask.shape != self.size:
            source = first_mask if isinstance(first_mask, (str, Path)) else 'first mask'
            raise ValueError(
                f'{source}: size {self.first_mask.shape}, expected {self.size} like the frames of {path}'
            )

    @property
    def annotated(self) -> list[int]:
        return [] if self.first_mask is None else [0]

    def mask(self, index: int) -> np.ndarray | None:
        return self.first_mask if index == 0 else None


class ImageFolder(_UnlabelledVideo):
    """The pictures of a folder in the order of their names. Raises a ValueError where there is none."""

    def _probe(self):
        self.files = sorted(
            str(path) for path in self.path.iterdir() if path.suffix.lower() in FRAME_SUFFIXES
        )
        if not self.files:
            raise ValueError(f'{self.path}: no pictures, expected {" or ".join(FRAME_SUFFIXES)} files')
        return read_header(self.files[0]), len(self.files)

    def frame(self, index: int) -> np.ndarray:
        frame = read_rgb(self.files[index])
        if frame.shape[:2] != self.size:
            raise ValueError(
                f'{self.files[index]}: size {frame.shape[:2]}, expected {self.size} like {self.files[0]}'
            )
        return frame


class VideoFile(_UnlabelledVideo):
    """A file that FFmpeg reads (mp4, avi, gif, ...), decoded lazily.

    Frames asked for in ascending order cost one decoding each; others start again at the key frame before.
    Safe to use from several threads, and to pickle.

    Args:
        path: The file.
        first_mask: (H, W) uint8 ids of frame 0, or the path of a palette PNG.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has no video, or (when a frame is asked for) cannot be decoded that far.
    """

    def _probe(self):
        if not self.path.is_file():
            raise FileNotFoundError(f'{self.path}: no such file, expected a video')
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                packets = [
                    packet for packet in container.demux(stream) if packet.size and not packet.is_discard
                ]
                size = stream.codec_context.height, stream.codec_context.width
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f'{self.path}: expected a video file, cannot read it ({error})') from error
        if not packets:
            raise ValueError(f'{self.path}: expected a video file, it has no frames')
        times = sorted({packet.pts for packet in packets} - {None})
        self._times = times if len(times) == len(packets) else None
        self._restart()
        return size, len(packets)

    def frame(self, index: int) -> np.ndarray:
        if not 0 <= index < self.num_frames:
            raise IndexError(f'{self.path}: frame {index}, expected 0..{self.num_frames - 1}')
        with self._lock:
            if self._decoder is None or not self._next <= index < self._next + MAX_SKIPPED:
                self._decoder = self._decode_from(index)
            try:
                return self._skip_to(index).to_ndarray(format='rgb24')
            except (av.FFmpegError, StopIteration) as error:
                self._decoder = None
                raise ValueError(
                    f'{self.path}: cannot decode frame {index}, expected {self.num_frames} frames ({error})'
                ) from error

    def _skip_to(self, index: int) -> av.VideoFrame:
        place = -1
        while place < index:
            place, frame = next(self._decoder)
        self._next = place + 1
        return frame

    def _decode_from(self, index: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their places, from the key frame at or before ``index``, or from 0 where there are no
        times."""
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            if self._times and index:
                container.seek(self._times[index], stream=stream)
            for count, frame in enumerate(container.decode(stream)):
                yield bisect_left(self._times, frame.pts) if self._times else count, frame

    def _restart(self) -> None:
        self._lock, self._decoder, self._next = Lock(), None, 0

    def __getstate__(self) -> dict:
        return {
            key: value for key, value in self.__dict__.items() if key not in ('_lock', '_decoder', '_next')
        }

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._restart()
