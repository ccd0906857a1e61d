"""Palette PNGs: the mask format of DAVIS and YouTube-VOS, one object id a pixel."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError


def voc_colour_map() -> np.ndarray:
    """The standard VOC colour map, by its bit rule: bits 3k, 3k+1 and 3k+2 of an id give bit 7-k of red,
    green, blue.

    Returns:
        (256, 3) uint8 array, RGB.
    """
    ids = np.arange(256)[:, None]
    channels = np.arange(3)
    colours = sum(((ids >> (3 * k + channels)) & 1) << (7 - k) for k in range(3))
    return colours.astype(np.uint8)


DAVIS_PALETTE = voc_colour_map()


def encode_palette_png(ids: np.ndarray, palette: np.ndarray = DAVIS_PALETTE) -> bytes:
    """Encodes a mask of object ids as a palette PNG (PIL mode ``P``).

    Args:
        ids: (H, W) uint8 array of object ids.
        palette: (N, 3) uint8 array of RGB colours, N <= 256.

    Returns:
        The bytes of the PNG file.

    Raises:
        ValueError: ``ids`` is not a non-empty (H, W) uint8 array.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype != np.uint8 or ids.size == 0:
        raise ValueError(
            f'expected a non-empty (H, W) uint8 array of object ids, got {ids.shape} {ids.dtype}'
        )
    image = Image.fromarray(ids)
    image.putpalette(np.asarray(palette, dtype=np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format='PNG')
    return buffer.getvalue()


def decode_palette_png(data: bytes) -> np.ndarray:
    """Decodes a palette (or 8-bit grey) PNG to its object ids.

    Args:
        data: the bytes of a PNG file.

    Returns:
        (H, W) uint8 array of object ids.

    Raises:
        ValueError: the bytes are no image, or one without a palette index or grey value a pixel.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f'expected the bytes of a palette PNG, could not decode them: {error}') from error
    if image.mode == '1':
        image = image.convert('L')
    if image.mode not in ('P', 'L'):
        raise ValueError(f'expected a palette PNG (PIL mode P or L), got mode {image.mode}')
    return np.array(image, dtype=np.uint8)
