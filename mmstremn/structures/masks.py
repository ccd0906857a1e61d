"""What arrays of masks mean: object ids, one object, or one plane per object. Arrays only; files are read in
``mmstremn.datasets.io``."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mmstremn.structures.data_samples import VOID

MAX_ID = VOID - 1
BLACK, WHITE = 16, 239  # up to and from here on: what JPEG leaves of 0 and 255
FIRST_SHADE = 32  # levels that all lie from here up, 255 among them, are shades somebody drew, not ids
TOLERANCE = 0.02  # of the sum of probabilities, for those of half precision
NO_OBJECT = (
    f'hold no object (an id in 1..{MAX_ID}): give None for a frame without masks, a bool mask or one plane '
    'per object to say that an object is not in the frame; remove(ids) ends objects'
)


@dataclass
class GivenIds:
    """What masks say of a frame.

    Attributes:
        ids: (H, W) uint8: the object at each pixel, 0 where there is none (or where the mask is void).
        objects: The ids of the objects that the masks speak of, ascending. One that has no pixel is said to
            be absent from the frame; objects that are not listed are left alone.
    """

    ids: np.ndarray
    objects: list[int]


def read_masks(masks, size: tuple[int, int], object_ids: Sequence[int] = (), name: str = 'masks') -> GivenIds:
    """Decide what the masks of a frame mean.

    Args:
        masks: What was read before, which is returned, or an array, a tensor or nested lists:

            - (H, W) integers: ids 0..254, 255 where void (with a warning where all ids are at least 32, as
              shades of grey are). Nothing but 0 and 255: one object, 255 where it is;
              a black and white picture with smooth edges or from a JPEG (:func:`black_and_white`): one object
              where at least 128, and a warning says so.
            - (H, W) bool, or floats in 0..1 (the object where at least .5): one object.
            - (1 + O, H, W) bool, 0 and 1, or probabilities that sum to 1: one plane for the background and
              one for each object, in the order of ``object_ids``, or of new objects 1..O if there are none
              yet. The largest plane wins.
        size: (H, W) of the frame.
        object_ids: The objects that are known. Masks of one object speak of the only one, or of a new object
            1 if there is none.
        name: Of the masks, for messages.

    Raises:
        TypeError: No numbers, or floats outside 0..1.
        ValueError: Another size, ids outside 0..255, numbers that are not finite, masks of one object where
            several are known, another number of planes, planes that do not sum to 1, no object at all.
    """
    if isinstance(masks, GivenIds):
        return masks
    masks = _as_array(masks, name)
    if masks.ndim not in (2, 3) or masks.shape[-2:] != tuple(size):
        raise ValueError(
            f'{name} are {masks.shape}, expected the size of the frame {tuple(size)} (H, W), or (1 + O, H, W)'
        )
    if masks.dtype.kind == 'f' and not np.isfinite(masks).all():
        raise ValueError(f'{name} hold numbers that are not finite')
    if masks.ndim == 3:
        return _from_planes(masks, object_ids, name)
    if masks.dtype == bool:
        return _from_one(masks, object_ids, name)
    if masks.dtype.kind == 'f':
        return _from_one(_at_least_half(masks, name), object_ids, name)
    return _from_integers(masks, object_ids, name)


def black_and_white(masks: np.ndarray) -> np.ndarray | None:
    """The object (H, W) bool of a grey picture that is black and white, or None if it is none.

    Such a picture holds nothing but 0 and 255, or also greys along the edges (smoothed, resized) and values
    near black and white (JPEG). Ids differ from it: they fill areas, of which 3 x 3 pixels are equal.

    Args:
        masks: (H, W) integers in 0..255.
    """
    values = np.unique(masks)
    if values[0] > BLACK or values[-1] < WHITE or len(values) < 2:
        return None
    if values.tolist() == [0, VOID]:
        return masks == VOID
    greys = values[(values > BLACK) & (values < VOID)]
    if len(greys) < 4 and not (values[-1] == VOID and len(greys) and greys[-1] >= VOID - 2):
        return None
    flat, bright = _flat(masks), masks >= WHITE
    edges = (masks != _most_frequent(masks[masks <= BLACK])) & (masks != _most_frequent(masks[bright]))
    if 4 * (flat & edges).sum() > edges.sum() or not (flat & bright).any():
        return None
    return masks >= 128


def are_shades(levels: set[int]) -> bool:
    """Whether the values of a mask look like grey levels of objects (0, 100, 255): is 255 void then?"""
    return VOID in levels and len(levels - {0, VOID}) > 0 and min(levels - {0}) >= FIRST_SHADE


def _most_frequent(values: np.ndarray) -> int:
    return int(np.bincount(values).argmax())


def _flat(masks: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixel and its eight neighbours are equal; False at the border."""
    flat = np.zeros(masks.shape, bool)
    if min(masks.shape) > 2:
        windows = np.lib.stride_tricks.sliding_window_view(masks, (3, 3))
        flat[1:-1, 1:-1] = windows.max((2, 3)) == windows.min((2, 3))
    return flat


def _as_array(masks, name: str) -> np.ndarray:
    if isinstance(masks, Tensor):
        masks = masks.detach().cpu()
        masks = (masks.float() if masks.is_floating_point() else masks).numpy()
    try:
        masks = np.asarray(masks)
    except ValueError as error:
        raise TypeError(f'{name} must be an array of numbers, got lists of different lengths') from error
    if masks.dtype.kind not in 'biuf':
        raise TypeError(
            f'{name} must be integer ids, bool or probabilities in 0..1, got {masks.dtype} '
            f'({type(masks).__name__})'
        )
    return masks


def _from_integers(masks: np.ndarray, object_ids: Sequence[int], name: str) -> GivenIds:
    if masks.min() < 0 or masks.max() > VOID:
        raise ValueError(f'{name} hold ids outside 0..{MAX_ID} (and {VOID} for void)')
    one = black_and_white(masks)
    if one is not None:
        if ((masks > 0) & (masks < VOID)).any():
            warnings.warn(
                f'{name} look like a black and white picture: one object where at least 128', stacklevel=3
            )
        return _from_one(one, object_ids, f'{name} (black and white: one object)')
    levels = set(np.unique(masks).tolist())
    if are_shades(levels):
        warnings.warn(
            f'{name} hold {sorted(levels)}: 255 is void; where these are shades of grey, of which 255 is an '
            'object too, give the ids 1, 2, ...',
            stacklevel=3,
        )
    ids = np.where(masks == VOID, 0, masks).astype(np.uint8)
    objects = sorted(levels - {0, VOID})
    if not objects:
        raise ValueError(f'{name} {NO_OBJECT}')
    return GivenIds(ids, objects)


def _at_least_half(masks: np.ndarray, name: str) -> np.ndarray:
    if masks.min() < 0 or masks.max() > 1:
        raise TypeError(
            f'{name} must be integer ids, got {masks.dtype} outside 0..1: floats are probabilities of one '
            'object'
        )
    return masks >= 0.5


def _from_one(mask: np.ndarray, object_ids: Sequence[int], name: str) -> GivenIds:
    """A bool mask of the only object."""
    if len(object_ids) > 1:
        raise ValueError(
            f'{name} speak of one object, but there are several {sorted(object_ids)}: give integer ids, or '
            'one plane per object (1 + O, H, W)'
        )
    if not object_ids and not mask.any():
        raise ValueError(f'{name} {NO_OBJECT}')
    number = object_ids[0] if object_ids else 1
    return GivenIds(np.where(mask, number, 0).astype(np.uint8), [number])


def _from_planes(masks: np.ndarray, object_ids: Sequence[int], name: str) -> GivenIds:
    """Planes of the background and of each object."""
    numbers = list(object_ids) or list(range(1, len(masks)))
    if not numbers or len(masks) != 1 + len(numbers) or len(numbers) > MAX_ID:
        raise ValueError(
            f'{name} are {len(masks)} planes, expected the background and one plane for each object '
            f'{numbers or "(at least one)"}; new objects are given as integer ids (H, W)'
        )
    if masks.min() < 0 or masks.max() > 1 or np.abs(masks.sum(0, np.float64) - 1).max() > TOLERANCE:
        raise ValueError(
            f'{name} are planes (1 + O, H, W) that do not sum to 1 at every pixel: expected one-hot masks or '
            'probabilities, the background first'
        )
    ids = np.array([0, *numbers], np.uint8)[masks.argmax(0)]
    missing = sorted(set(numbers) - set(np.unique(ids).tolist()))
    if missing and not object_ids:
        raise ValueError(f'{name} have no pixel of the new objects {missing}')
    return GivenIds(ids, sorted(numbers))
