"""What happens while an object is away: false alarms, and re-identification after its return."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

PAINTED = 1e-3  # of the picture: more than this in a frame without the object is a false alarm
AFTER_RETURN = 10  # frames


@dataclass
class Absence:
    """The frames of one object, in order; collected by :func:`~mmstremn.evaluation.evaluate_video`.

    Attributes:
        absent: Frames without the object.
        alarms: Those of them in which more than ``PAINTED`` of the picture is painted as the object.
        returned: J&F of each of the ``AFTER_RETURN`` frames from each return on.
    """

    absent: int = 0
    alarms: int = 0
    returned: list[float] = field(default_factory=list)
    _left: int = 0
    _away: bool = False

    def add(self, truth: np.ndarray, predicted: np.ndarray, j_and_f: tuple[float, float]) -> None:
        """The next frame that is scored.

        Args:
            truth, predicted: (H, W) bool.
            j_and_f: Of the frame.
        """
        if not truth.any():
            self.absent += 1
            self.alarms += int(predicted.mean() > PAINTED)
            self._away, self._left = True, 0
            return
        if self._away:
            self._away, self._left = False, AFTER_RETURN
        if self._left:
            self._left -= 1
            self.returned.append(sum(j_and_f) / 2)

    def counts(self) -> dict[str, float]:
        """``absent``, ``alarms``, ``returned`` (a number of frames) and ``returned_sum`` (of their J&F)."""
        return dict(
            absent=self.absent,
            alarms=self.alarms,
            returned=len(self.returned),
            returned_sum=float(sum(self.returned)),
        )


def absence_measures(counts: Iterable[dict[str, float]]) -> dict[str, float]:
    """The share of frames without the object in which it is painted, and the mean J&F of the frames after
    returns.

    Args:
        counts: Of :meth:`Absence.counts`, any number; their frames are pooled.

    Returns:
        ``false_alarms`` and ``reidentification`` in 0..1, each only where there is a frame to say it of.
    """
    counts = list(counts)
    absent, returned = (sum(each[name] for each in counts) for name in ('absent', 'returned'))
    measures = {}
    if absent:
        measures['false_alarms'] = sum(each['alarms'] for each in counts) / absent
    if returned:
        measures['reidentification'] = sum(each['returned_sum'] for each in counts) / returned
    return measures
