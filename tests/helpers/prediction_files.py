"""Tiny video files and folders of pictures for the data sets of video prediction."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (24, 32)


def flat_frames(levels: Sequence[int], size=SIZE) -> np.ndarray:
    """(T, H, W) uint8: every frame of one level of grey."""
    return np.stack([np.full(size, level, np.uint8) for level in levels])


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write (T, H, W) grey or (T, H, W, 3) RGB frames: MPEG-4 as .avi, lossless and really grey as .mkv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = frames.ndim == 3
    codec, pix_fmt = ('ffv1', 'gray' if grey else 'bgr0') if path.suffix == '.mkv' else ('mpeg4', 'yuv420p')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format='gray' if grey else 'rgb24')
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_pictures(folder: Path, frames: dict[int, np.ndarray], pattern: str = 'image_{:04d}.png') -> None:
    """Write a picture for each number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in frames.items():
        Image.fromarray(frame).save(folder / pattern.format(number))
