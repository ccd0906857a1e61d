"""Pictures from files, as a viewer shows them, with errors that name the file; masks are read in
``masks.py``."""

import logging
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import ExifTags, Image, ImageOps

from mmstremn.datasets.io.each import read_each

GREY_MODES = ('1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B', 'I;16L', 'F')
DEEP_MODES = ('I;16', 'I;16B', 'I;16L')
QUARTER_TURNS = (5, 6, 7, 8)  # the EXIF orientations that exchange height and width
UPRIGHT: dict[int | None, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda picture: picture[::-1, ::-1],
    4: np.flipud,
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
XMP = ('xmp', 'XML:com.adobe.xmp')
COLOUR_MODES, MASK_MODES = ('RGB', 'RGBA', 'YCbCr', 'CMYK'), ('1', 'L', 'P', 'LA', 'I;16')
FEW = 32  # levels of a mask
DARK = 16  # the highest of 255 levels that 12 bits in 16 reach
SAID: set[Path] = set()
# What PIL raises for damaged files, besides its own errors.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


class PictureHeader(NamedTuple):
    """What is known of a picture without decoding it.

    Attributes:
        size: (H, W) as a viewer shows it.
        mode: PIL's mode.
        turned: It is stored turned by a quarter, with an EXIF orientation.
        format: PIL's name of the file format.
    """

    size: tuple[int, int]
    mode: str
    turned: bool
    format: str | None = None

    @property
    def channels(self) -> int:
        """1 of a grey picture, 3 of one in colour."""
        return 1 if self.mode in GREY_MODES else 3


def read_rgb(path: str | Path) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8 RGB, upright as its EXIF orientation says.

    Grey becomes three equal channels, CMYK and palettes RGB, transparency is ignored. 16 bits are scaled so
    that 65535 becomes 255, floats so that 1 does.

    OpenCV decodes JPEG two to three times as fast as PIL, but some of its versions return a half grey picture
    for a truncated file, so it gets only JPEG files that have their end marker; PIL decodes the rest and is
    strict.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated or no picture, claims so many pixels that decoding it would
            exhaust the memory, or holds numbers without a defined white (32-bit integers, floats outside
            0..1).
    """
    with _opened(path) as image:
        if image.format in ('JPEG', 'MPO') and image.mode in ('L', 'RGB'):
            bgr = _decode_jpeg(Path(path).read_bytes())
            if bgr is not None:
                return UPRIGHT.get(_orientation(image), np.asarray)(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        return _as_rgb(_upright(image, path), path)


def read_header(path: str | Path) -> PictureHeader:
    """The header of a picture, without decoding it. Raises like ``read_rgb``."""
    with _opened(path) as image:
        turned = _orientation(image) in QUARTER_TURNS
        size = image.size if turned else image.size[::-1]
        return PictureHeader(size, image.mode, turned, image.format)


def read_whole_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of a picture whose file is whole: where it lacks the end mark of JPEG or PNG it is decoded to
    find out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated or no picture.
    """
    size = read_header(path).size
    _check_end(path)
    return size


def _check_end(path: str | Path) -> None:
    with open(path, 'rb') as file:
        file.seek(-12, 2)
        end = file.read()
    if not (end.endswith(b'\xff\xd9') or b'IEND' in end):
        decode_picture(path, lambda image: None)


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
    """What ``convert`` makes of a decoded picture, upright as its EXIF orientation says.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, truncated, no picture, or claims so many pixels that decoding it would
            exhaust the memory.
    """
    with _opened(path) as image:
        try:
            return convert(_upright(image, path))
        except MemoryError as error:
            raise _unreadable(path, error) from error


def check_frames(paths: Sequence[str | Path]) -> tuple[int, int]:
    """The common size (H, W) of the frames of a video, from their headers and the end marks of JPEG and PNG.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is no picture or has another size than the first, files are cut off (all of them
            are named), or a mask lies among frames: a picture of few levels whose format or mode is not that
            of most. The message names it.
    """
    headers = [read_header(path) for path in paths]
    for path, header in zip(paths, headers, strict=True):
        if header.size != headers[0].size:
            raise ValueError(
                f'{path}: {describe_size(header)}, expected {describe_size(headers[0])} like the first frame '
                f'{paths[0]}'
            )
    marked = [path for path, header in zip(paths, headers, strict=True) if header.format in ('JPEG', 'PNG')]
    read_each(_check_end, marked, workers=1)
    kinds = [(header.mode, header.format) for header in headers]
    usual = Counter(kinds).most_common(1)[0][0]
    for path, kind in zip(paths, kinds, strict=True):
        if kind == usual or not _looks_like_mask(path):
            continue
        is_grey = kind[0] in MASK_MODES and usual[0] in COLOUR_MODES
        if is_grey or not _looks_like_mask(paths[kinds.index(usual)]):
            raise ValueError(f'{path}: a mask among frames, expected masks in a folder of their own')
    return headers[0].size


def _looks_like_mask(path: str | Path) -> bool:
    """A picture of a few levels; a frame of one level, such as black, is none."""
    return 1 < len(np.unique(decode_picture(path, np.array))) <= FEW


def describe_size(header: PictureHeader) -> str:
    """The size of a picture for messages: '854 x 480 pixels', and whether it is stored turned."""
    turned = ', turned by its EXIF orientation as viewers show it' if header.turned else ''
    return f'{header.size[1]} x {header.size[0]} pixels{turned}'


def _opened(path: str | Path) -> Image.Image:
    """A picture of which the header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # large, but can be decoded
            image = Image.open(path)
            pictures = 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such file, expected a picture') from error
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    if pictures > 1:
        image.close()
        raise ValueError(f'{path}: holds {pictures} pictures, expected one: save each as a file of its own')
    if image.format == 'TIFF':
        image.filename = ''  # else PIL maps it into memory, and scrambles what is turned by a quarter
    return image


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation of a picture that is not decoded; PIL turns a TIFF by itself."""
    tells = image.info.keys() & {'exif', 'Raw profile type exif', *XMP} or _has_late_exif(image)
    if image.format == 'TIFF' or not tells:
        return None
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except DAMAGED:
        return None


def _has_late_exif(image: Image.Image) -> bool:
    """Whether EXIF lies behind the pixels of a PNG, for which PIL decodes all of it."""
    if image.format != 'PNG':
        return False
    with open(image.filename, 'rb') as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            if head[4:] == b'eXIf':
                return True
            file.seek(int.from_bytes(head[:4], 'big') + 4, 1)
    return False


def _upright(image: Image.Image, path: str | Path) -> Image.Image:
    """The decoded picture, upright."""
    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    return image


def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 BGR as it is stored; None where the file is not whole or OpenCV cannot read it."""
    if data.rfind(b'\xff\xd9') <= data.rfind(b'\xff\xda'):
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def _as_rgb(image: Image.Image, path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 of a decoded picture."""
    if image.mode in DEEP_MODES or (image.mode == 'I' and image.format == 'PNG'):
        return _repeat(_eight_bits(np.array(image), path))
    if image.mode == 'I':
        raise ValueError(f'{path}: integers of 32 bits have no defined white, save it with 8 or 16 bits')
    if image.mode == 'F':
        values = np.array(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(
                f'{path}: floats in {values.min():g}..{values.max():g}, expected 0..1 (1 is white): scale '
                'them, or save with 8 or 16 bits'
            )
        return _repeat(np.rint(values * 255))
    try:
        return np.array(image.convert('RGB'))
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def _eight_bits(deep: np.ndarray, path: str | Path) -> np.ndarray:
    """Levels of 16 bits as levels of 8; says once for a folder that they are nearly black."""
    levels = (deep.astype(np.int32) + 128) // 257
    folder = Path(path).absolute().parent
    if deep.max() > 0 and levels.max() <= DARK and folder not in SAID:
        SAID.add(folder)
        print_log(
            f'{path}: 16 bits, but no value above {deep.max()}: 65535 is white, so the picture is nearly '
            'black; where another value is white, scale the frames',
            logger='current',
            level=logging.WARNING,
        )
    return levels


def _repeat(grey: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) as (H, W, 3) uint8."""
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _unreadable(path: str | Path, error: BaseException) -> ValueError:
    return ValueError(f'{path}: expected a whole picture, cannot decode it ({error})')
