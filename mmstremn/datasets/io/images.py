"""Pictures from files, with errors that name the file; masks are read in ``masks.py``."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

# What PIL raises for damaged files, besides its own errors.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)


def read_rgb(path: str | Path) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8 RGB. An EXIF rotation is ignored: masks know nothing of it.

    OpenCV decodes JPEG two to three times as fast as PIL, but some of its versions return a half grey picture
    for a truncated file, so it gets only JPEG files that have their end marker; PIL decodes the rest and is
    strict.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated or no picture.
    """
    data = Path(path).read_bytes()
    if data[:2] == b'\xff\xd8' and data.rfind(b'\xff\xd9') > data.rfind(b'\xff\xda'):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is not None:
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return decode_picture(path, lambda image: np.array(image.convert('RGB')))


def read_header(path: str | Path) -> tuple[int, int]:
    """(H, W) of a picture, without decoding it. Raises like ``read_rgb``."""
    return decode_picture(path, lambda image: image.size[::-1])


def read_whole_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of a picture whose file is whole: where it lacks the end mark of JPEG or PNG it is decoded to
    find out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated or no picture.
    """
    size = decode_picture(path, lambda image: image.size[::-1])
    with open(path, 'rb') as file:
        file.seek(-12, 2)
        end = file.read()
    if not (end.endswith(b'\xff\xd9') or b'IEND' in end):
        decode_picture(path, lambda image: image.load())
    return size


def scaled_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(H, W) scaled so that the shorter side has ``short_side`` pixels; None leaves it."""
    scale = short_side / min(size) if short_side else 1
    return round(size[0] * scale), round(size[1] * scale)


def resize_rgb(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) to ``size``, by area where it shrinks and bilinearly where it grows."""
    if frame.shape[:2] == size:
        return frame
    return cv2.resize(
        frame, size[::-1], interpolation=cv2.INTER_AREA if size < frame.shape[:2] else cv2.INTER_LINEAR
    )


def resize_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W) ids to ``size`` by the nearest pixel centre."""
    return ids if ids.shape == size else cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def decode_picture(path: str | Path, convert: Callable[[Image.Image], Any]) -> Any:
    """What ``convert`` makes of an opened picture.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated, no picture, or claims so many pixels that decoding it would
            exhaust the memory.
    """
    try:
        with Image.open(path) as image:
            return convert(image)
    except FileNotFoundError:
        raise
    except BROKEN as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise  # what ``convert`` says of it
        raise _unreadable(path, error) from error


def _unreadable(path, error: Exception) -> ValueError:
    return ValueError(f'{path}: expected a whole picture, cannot decode it ({error})')
