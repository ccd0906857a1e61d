"""What a user says of a frame by brush, points, boxes and pictures of masks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmstremn.structures import GivenIds
from mmstremn.structures.prompts import CORNERS, GivenPrompts, read_prompts


@dataclass(frozen=True)
class Marks:
    """The marks of a frame.

    Attributes:
        given: What a session is given.
        own: Objects whose masks in it the user made. Other masks are given as they were shown: because a
            mark speaks of all objects, or because points refine them.
    """

    given: GivenPrompts = field(default_factory=GivenPrompts)
    own: frozenset[int] = frozenset()

    def points(self, k: int) -> list[list[float]]:
        """The points of an object, rows (x, y, label)."""
        return [row for row in self._rows(k) if row[2] not in CORNERS]

    def box(self, k: int) -> list[float] | None:
        """The box of an object, (x1, y1, x2, y2)."""
        return [number for row in self._rows(k) if row[2] in CORNERS for number in row[:2]] or None

    def _rows(self, k: int) -> list[list[float]]:
        return self.given.points[k].tolist() if k in self.given.points else []

    def base(self, k: int, ids: np.ndarray) -> np.ndarray | None:
        """(H, W) bool: the mask of an object that its points refine; None where there is none.

        Args:
            k: Id of the object.
            ids: (H, W) as they are shown; they count if the object has no point yet.
        """
        masks = self.given.masks
        if k in self.given.points:
            return masks.ids == k if masks is not None and k in masks.objects else None
        return ids == k if k in ids else None

    def with_masks(self, masks: GivenIds, shown: Iterable[int] = ()) -> 'Marks':
        """Masks in the place of all that was said of their objects.

        Args:
            masks: Made by the user.
            shown: But for these objects, whose masks are those that were shown.
        """
        made = set(masks.objects) - set(shown)
        return Marks(self.given.replaced_by(GivenPrompts(masks)), self.own | made)

    def with_prompts(self, k: int, points: list, box: Sequence[float] | None, masks: GivenIds) -> 'Marks':
        """Points and a box in the place of all that was said of an object.

        Args:
            k: Id of the object.
            points: Rows (x, y, label).
            box: (x1, y1, x2, y2).
            masks: As they were shown, of further objects; that of the object is refined.

        Raises:
            ValueError: A point outside the frame, or an empty box.
        """
        rows, boxes = {k: points} if points else None, None if box is None else {k: box}
        new = read_prompts(masks if masks.objects else None, rows, boxes, masks.ids.shape)
        assert new is not None
        return Marks(self.given.replaced_by(new), self.own if k in masks.objects else self.own - {k})

    def without_prompts(self, k: int) -> 'Marks':
        """Without points and box of an object: a mask stays if the user made it. Nothing is given where the
        user marked nothing else."""
        left = self.given.without([k])
        if k in self.own:
            left = replace(self.given, points=left.points)
        return Marks(left, self.own) if left.points or self.own & set(left.objects) else Marks()


def only(ids: np.ndarray, objects: Iterable[int]) -> GivenIds:
    """The masks (H, W) of some objects."""
    listed = sorted(objects)
    return GivenIds(np.where(np.isin(ids, listed), ids, 0).astype(np.uint8), listed)
