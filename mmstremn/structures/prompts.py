"""Points and boxes that a user gives for objects of a frame, checked like masks."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmstremn.structures.masks import MAX_ID, GivenIds, read_masks

CORNERS = (2, 3)  # labels of a box's corners, top left and bottom right, as SAM's prompt encoder has them
POINTS = 'expected a dict of object id: rows (x, y) or (x, y, label), label 1 on the object, 0 beside it'
BOXES = 'expected a dict of object id: (x1, y1, x2, y2)'
INSTEAD = (
    'give masks, or use a model that is prompted with points and boxes, such as that of the config '
    'adapters/sam2/sam2.1_tiny.py'
)


@dataclass
class GivenPrompts:
    """What is said of a frame: of each object a mask, or points and a box, or both: a mask that these refine.

    Attributes:
        masks: Those of objects that have masks.
        points: By object id, (N, 3) float64 rows (x, y, label); a box is two rows with the labels 2 and 3.
    """

    masks: GivenIds | None = None
    points: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def objects(self) -> list[int]:
        """The ids of all objects that are spoken of, those with masks first."""
        return list(dict.fromkeys([*(self.masks.objects if self.masks else []), *self.points]))

    @property
    def final_masks(self) -> GivenIds | None:
        """The masks of objects without points: they are returned as they are."""
        return self.without(list(self.points)).masks

    @classmethod
    def of(cls, given: 'GivenIds | GivenPrompts') -> 'GivenPrompts':
        """The same where there are masks alone."""
        return cls(given) if isinstance(given, GivenIds) else given

    def plain(self) -> 'GivenIds | GivenPrompts':
        """The masks, where there is nothing else: what every model takes."""
        return self if self.points or self.masks is None else self.masks

    def without(self, objects: Sequence[int]) -> 'GivenPrompts':
        """What is said of other objects."""
        masks, points = self.masks, {k: rows for k, rows in self.points.items() if k not in objects}
        if masks is not None:
            left = [k for k in masks.objects if k not in objects]
            ids = np.where(np.isin(masks.ids, objects), 0, masks.ids).astype(np.uint8)
            masks = GivenIds(ids, left) if left else None
        return GivenPrompts(masks, points)

    def replaced_by(self, new: 'GivenPrompts') -> 'GivenPrompts':
        """Both, where of objects that ``new`` speaks of it alone counts."""
        kept = self.without(new.objects)
        masks = kept.masks or new.masks
        if kept.masks is not None and new.masks is not None:
            ids = np.where(new.masks.ids > 0, new.masks.ids, kept.masks.ids)
            masks = GivenIds(ids, sorted({*kept.masks.objects, *new.masks.objects}))
        return GivenPrompts(masks, kept.points | new.points)


def read_prompts(
    masks, points, boxes, size: tuple[int, int], object_ids: Sequence[int] = (), name: str = 'of the frame'
) -> GivenPrompts | None:
    """Check the prompts of a frame. A mask of an object that has points or a box too is refined by these.

    Args:
        masks: As :func:`~mmstremn.structures.read_masks` takes them, or None; or what was read before, which
            is returned.
        points: By object id: rows (x, y, label) in pixels of the frame, label 1 on the object and 0 beside
            it; rows (x, y) are on the object. None: none.
        boxes: By object id: (x1, y1, x2, y2) in pixels. None: none.
        size: (H, W) of the frame.
        object_ids: The objects that are known.
        name: Of the frame, for messages.

    Returns:
        None where nothing is given.

    Raises:
        TypeError: Neither dicts nor numbers, or ids that are no integers.
        ValueError: Wrong shapes, ids outside 1..254, points or boxes outside the frame, empty boxes, labels
            other than 0 and 1; and what ``read_masks`` raises.
    """
    if isinstance(masks, GivenPrompts):
        return masks
    given = GivenPrompts(
        None if masks is None else read_masks(masks, size, object_ids, f'masks {name}'),
        _merged(
            {i: _points(p, size, f'points {name}, object {i}') for i, p in _by_id(points, f'points {name}')},
            {i: _box(b, size, f'boxes {name}, object {i}') for i, b in _by_id(boxes, f'boxes {name}')},
        ),
    )
    return given if given.objects else None


def _by_id(prompts, name: str) -> list[tuple[int, object]]:
    if prompts is None:
        return []
    if not isinstance(prompts, Mapping):
        raise TypeError(f'{name}: {POINTS if "points" in name else BOXES}, got {type(prompts).__name__}')
    pairs = []
    for key, value in prompts.items():
        try:
            number = operator.index(key)
        except TypeError as error:
            raise TypeError(f'{name}: object ids must be integers, got {key!r}') from error
        if not 1 <= number <= MAX_ID:
            raise ValueError(f'{name}: object ids must be in 1..{MAX_ID}, got {number}')
        pairs.append((number, value))
    return pairs


def _numbers(values, name: str, expected: str) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f'{name}: {expected}, got {values!r}') from error
    if not np.isfinite(array).all():
        raise ValueError(f'{name} hold numbers that are not finite')
    return array


def _points(values, size: tuple[int, int], name: str) -> np.ndarray:
    """(N, 3), N at least 1."""
    array = np.atleast_2d(_numbers(values, name, POINTS))
    if array.ndim != 2 or not array.size or array.shape[1] not in (2, 3):
        raise ValueError(f'{name}: {POINTS}, got shape {array.shape}')
    if array.shape[1] == 2:
        array = np.pad(array, ((0, 0), (0, 1)), constant_values=1)
    if not np.isin(array[:, 2], (0, 1)).all():
        raise ValueError(
            f'{name}: labels must be 1 (on the object) or 0 (beside it), got {array[:, 2].tolist()}'
        )
    height, width = size
    inside = (array[:, :2] >= 0) & (array[:, :2] < (width, height))
    if not inside.all():
        point = array[~inside.all(1)][0, :2].tolist()
        raise ValueError(f'{name}: {point} (x, y) is outside the frame of {width} x {height} pixels')
    return array


def _box(values, size: tuple[int, int], name: str) -> np.ndarray:
    """(2, 3): the corners."""
    array = _numbers(values, name, BOXES)
    if array.shape != (4,):
        raise ValueError(f'{name}: {BOXES}, got shape {array.shape}')
    (left, top, right, bottom), (height, width) = array.tolist(), size
    if left >= right or top >= bottom:
        raise ValueError(f'{name}: the box {array.tolist()} is empty: expected x1 < x2 and y1 < y2')
    if left < 0 or top < 0 or right > width or bottom > height:
        raise ValueError(
            f'{name}: the box {array.tolist()} is not inside the frame of {width} x {height} pixels'
        )
    return np.array([[left, top, CORNERS[0]], [right, bottom, CORNERS[1]]])


def _merged(points: dict[int, np.ndarray], boxes: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """A box comes before the points of its object."""
    both = {**boxes, **points}
    rows = {i: np.concatenate([boxes[i], points[i]]) if i in boxes and i in points else both[i] for i in both}
    return dict(sorted(rows.items()))
