"""Images and id maps from files, with errors that name the file."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ID_MODES = ('P', 'L', '1')
MODE_ERROR = 'wrong palette/mode: expected a palette or 8-bit grey PNG of object ids'


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
    return _decode(path, lambda image: np.array(image.convert('RGB')))


def read_ids(path: str | Path) -> np.ndarray:
    """Decode a palette, 8-bit grey or 1-bit PNG to its stored values: (H, W) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated, no picture, or of another mode (an RGB picture of the mask).
    """
    return _decode(path, lambda image: np.array(image, dtype=np.uint8) if _has_ids(image, path) else None)


def read_header(path: str | Path, is_mask: bool = False) -> tuple[int, int]:
    """(H, W) of a picture, without decoding it; of a mask the mode is checked too. Raises like
    ``read_ids``."""
    try:
        with Image.open(path) as image:
            return image.size[::-1] if not is_mask or _has_ids(image, path) else None
    except Image.UnidentifiedImageError as error:
        raise _unreadable(path, error) from error


def read_grey_ids(path: str | Path) -> np.ndarray:
    """Like ``read_ids``; a grey picture that was saved in colour (all channels equal) is read too."""
    return _decode(path, lambda image: _grey(image, path))


def _grey(image: Image.Image, path) -> np.ndarray:
    if image.mode in ('RGB', 'RGBA', 'LA'):
        channels = np.array(image.convert('RGB'))
        if (channels == channels[..., :1]).all():
            return channels[..., 0]
    return np.array(image, dtype=np.uint8) if _has_ids(image, path) else None


def read_whole_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of a picture whose file is whole: where it lacks the end mark of JPEG or PNG it is decoded to
    find out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated or no picture.
    """
    size = _decode(path, lambda image: image.size[::-1])
    with open(path, 'rb') as file:
        file.seek(-12, 2)
        end = file.read()
    if not (end.endswith(b'\xff\xd9') or b'IEND' in end):
        _decode(path, lambda image: image.load())
    return size


def as_single_object(ids: np.ndarray) -> np.ndarray:
    """One object (1) out of (H, W) ids: all above 0; where values reach 255 (a grey mask) those from 128
    up."""
    return (ids >= 128 if ids.max() == 255 else ids > 0).astype(np.uint8)


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


def _has_ids(image: Image.Image, path) -> bool:
    if image.mode not in ID_MODES:
        raise ValueError(f'{path}: {MODE_ERROR}, found mode {image.mode}')
    return True


def _decode(path, convert) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return convert(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path, error: Exception) -> ValueError:
    return ValueError(f'{path}: expected a whole picture, cannot decode it ({error})')
