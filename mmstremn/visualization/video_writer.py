"""Videos from pictures."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mmstremn.utils.atomic import written_aside


def write_video(path: str | Path, pictures: Iterable[np.ndarray], fps: int | Fraction = 15) -> None:
    """Write an mp4; one picture at a time is in memory.

    Args:
        path: The folder is made if it does not exist; the file appears when it is complete.
        pictures: (H, W, 3) uint8 RGB each, all of one size.
        fps: Frames a second.
    """
    with video_writer(path, fps) as writer:
        for picture in pictures:
            writer.add(picture)


@contextmanager
def video_writer(
    path: str | Path, fps: int | Fraction = 15, transparent: bool = False
) -> Iterator['VideoWriter']:
    """Something to add pictures to; the video appears when the block ends, and not at all where it raises.

    Args:
        path: The folder is made if it does not exist.
        fps: Frames a second.
        transparent: Pictures are RGBA, the video is a WebM (VP9 with alpha); else an mp4 (H.264, yuv420p, its
            index at the start).
    """
    path = Path(path).absolute()  # FFmpeg takes a colon in a relative path for a protocol
    kind = dict(format='webm') if transparent else dict(format='mp4', options={'movflags': '+faststart'})
    with written_aside(path) as partial, av.open(str(partial), 'w', **kind) as container:
        writer = VideoWriter(container, fps, transparent)
        yield writer
        writer.flush()


class VideoWriter:
    """Encodes pictures one by one, see :func:`video_writer`."""

    def __init__(self, container: av.container.OutputContainer, fps: int | Fraction, transparent: bool):
        self._container, self._fps, self._transparent = container, fps, transparent
        self._stream = None

    def add(self, picture: np.ndarray) -> None:
        """Encode (H, W, 3) uint8 RGB, or (H, W, 4) RGBA."""
        picture = _even_size(picture)
        if self._stream is None:
            add = _add_transparent_stream if self._transparent else _add_stream
            self._stream = add(self._container, picture.shape, self._fps)
        frame = av.VideoFrame.from_ndarray(picture, format='rgba' if self._transparent else 'rgb24')
        self._container.mux(self._stream.encode(frame))

    def flush(self) -> None:
        """Write what the encoder holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())


def _add_transparent_stream(container, shape: tuple[int, ...], fps: int | Fraction):
    stream = container.add_stream('libvpx-vp9', rate=fps)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = 'yuva420p'
    stream.options = {'deadline': 'realtime', 'cpu-used': '8', 'crf': '30', 'b': '0', 'auto-alt-ref': '0'}
    return stream


def _add_stream(container, shape: tuple[int, ...], fps: int | Fraction):
    """H.264 where FFmpeg has it, else MPEG-4, in the pixel format that every player knows."""
    stream = container.add_stream('libx264' if 'libx264' in av.codecs_available else 'mpeg4', rate=fps)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = 'yuv420p'
    if stream.codec.name == 'mpeg4':
        stream.bit_rate = 4_000_000
    else:  # x264's default holds 40 frames and takes three times as long for files of the same size
        stream.options = {'preset': 'veryfast'}
    return stream


def _even_size(picture: np.ndarray) -> np.ndarray:
    """(H, W, C) with the last row and column repeated where H or W is odd: yuv420p needs even sizes."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
