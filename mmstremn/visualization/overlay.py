"""Masks drawn over the frames they belong to."""

import os
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from mmstremn.structures import VOID
from mmstremn.utils.palette import DAVIS_PALETTE


def overlay(frame: np.ndarray, ids: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Blend the colours of the objects into a frame and draw their contours.

    Args:
        frame: (H, W, 3) uint8 RGB.
        ids: (H, W) uint8 object ids; background (0) and void (255) are left as they are.
        alpha: Opacity of the colours; contours are opaque.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Frame and mask differ in size.
    """
    if frame.shape[:2] != ids.shape:
        raise ValueError(f'expected a mask of the size of the frame, {frame.shape[:2]}, got {ids.shape}')
    ids = np.where(ids == VOID, 0, ids).astype(np.uint8)
    colours = DAVIS_PALETTE[ids]
    blended = cv2.addWeighted(frame, 1 - alpha, colours, alpha, 0)
    drawn = np.where((ids > 0)[..., None], blended, frame)
    kernel = np.ones((3, 3), np.uint8)
    outer = cv2.dilate(ids, kernel)
    contour = outer != cv2.erode(ids, kernel)
    drawn[contour] = DAVIS_PALETTE[outer[contour]]
    return drawn


def write_overlay_video(
    path: str | Path, frames: Iterable[np.ndarray], masks: Iterable[np.ndarray], fps: int = 15, alpha: float = 0.5
) -> None:
    """Write an mp4 of a video with its masks; one frame at a time is in memory.

    Args:
        path: The folder is made if it does not exist; the file appears when it is complete.
        frames: (H, W, 3) uint8 RGB each, all of one size.
        masks: (H, W) uint8 object ids each, as many as frames.
        fps: Frames a second.
        alpha: Opacity of the masks.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{os.getpid()}')
    try:
        with av.open(str(partial), 'w', format='mp4') as container:
            stream = None
            for frame, ids in zip(frames, masks, strict=True):
                picture = _even_size(overlay(frame, ids, alpha))
                if stream is None:
                    stream = _add_stream(container, picture.shape, fps)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
            if stream is not None:
                container.mux(stream.encode())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _add_stream(container, shape: tuple[int, ...], fps: int):
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
