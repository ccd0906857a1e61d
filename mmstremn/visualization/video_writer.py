"""Videos from pictures."""

from collections.abc import Iterable
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
    path = Path(path).absolute()  # FFmpeg takes a colon in a relative path for a protocol
    with written_aside(path) as partial, av.open(str(partial), 'w', format='mp4') as container:
        stream = None
        for picture in pictures:
            picture = _even_size(picture)
            if stream is None:
                stream = _add_stream(container, picture.shape, fps)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        if stream is not None:
            container.mux(stream.encode())


def _add_stream(container, shape: tuple[int, ...], fps: int | Fraction):
    """H.264 where FFmpeg has it, else MPEG-4, in the pixel format that every player knows."""
    stream = container.add_stream('libx264' if 'libx264' in av.codecs_available else 'mpeg4', rate=fps)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = 'yuv420p'
    if stream.codec.name == 'mpeg4':
        stream.bit_rate = 4_000_000
    return stream


def _even_size(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) with the last row and column repeated where H or W is odd: yuv420p needs even sizes."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
