"""Scripts of edited videos: which shot of which sequence comes when, as numbers alone.

Time is counted in steps of ``stride`` frames. Whatever a shot does, its frames at whole steps are those of
the sequence at whole steps, so what a sequence gives at them can be computed once for all edited videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Shot(NamedTuple):
    """Steps of a sequence.

    Attributes:
        source: Place of the sequence among those of the data set.
        object_id: Of its object; 0: a foreign shot, in which no object of the video is.
        look: Name of how it is shown, see ``LOOKS``.
        start: The first step.
        direction: 1 forwards, -1 backwards, 0: a freeze.
        length: Steps.
    """

    source: int
    object_id: int
    look: str
    start: int
    direction: int
    length: int

    def place(self, offset: int, last: int) -> int:
        """What is shown ``offset`` after the start of a sequence that ends at ``last`` and is played back and
        forth (both in steps or both in frames, with ``start`` in the same unit)."""
        period = max(1, 2 * last)
        place = (self.start + self.direction * offset) % period
        return min(place, period - place) if last else 0


@dataclass(frozen=True)
class EditStyle:
    """How videos are edited; shares are 0..1.

    Attributes:
        objects: Least and most objects of a video, each of a sequence of its own.
        shot_steps: Least and most steps of a shot.
        foreign: Share of foreign shots.
        look_alikes: Share of the foreign shots that are of a class with an object of the video, where there
            are such.
        debuts: Share of the shots with an object that show a new one, while there are new ones.
        alternation: Share of the others that go back to the object before the last (shot, reverse shot).
        favourites: Exponent of Zipf's law by which the others are drawn: 0 all alike, 1: the second favourite
            half as often as the first, and so on.
        replays: Share of the shots that repeat an earlier one of the object, frame by frame.
        freezes: Share of the shots in which one frame stands still.
        looks: Relative frequency of the looks of a shot.
    """

    objects: tuple[int, int] = (4, 6)
    shot_steps: tuple[int, int] = (2, 5)
    foreign: float = 0.3
    look_alikes: float = 0.5
    debuts: float = 0.4
    alternation: float = 0.4
    favourites: float = 1.0
    replays: float = 0.1
    freezes: float = 0.05
    looks: Mapping[str, float] = field(
        default_factory=lambda: dict(plain=0.5, mirrored=0.15, close=0.15, dark=0.1, bright=0.1)
    )


@dataclass(frozen=True)
class Cast:
    """The sequences of a video.

    Attributes:
        own: The places of those with an object; object k is that of ``own[k - 1]``.
        foreign: The places of the others.
        look_alikes: Those of them of a class with an object.
    """

    own: Sequence[int]
    foreign: Sequence[int]
    look_alikes: Sequence[int]


def draw_script(
    steps: int, lengths: Sequence[int], cast: Cast, style: EditStyle, rng: np.random.Generator
) -> list[Shot]:
    """The shots of a video.

    Args:
        steps: Of the video.
        lengths: Steps of each sequence of the data set.
        cast: Of the video.
        style: Of the editing.
        rng: Decides everything random.
    """
    order = rng.permutation(len(cast.own))  # of the favourites
    shots: list[Shot] = []
    while (left := steps - sum(shot.length for shot in shots)) > 0:
        shot = _draw_shot(shots, lengths, cast, style, order, rng)
        shots.append(shot._replace(length=min(shot.length, left)))
    return shots


def _draw_shot(
    shots: list[Shot],
    lengths: Sequence[int],
    cast: Cast,
    style: EditStyle,
    order: np.ndarray,
    rng: np.random.Generator,
) -> Shot:
    own = [shot.object_id for shot in shots if shot.object_id]
    length = int(rng.integers(style.shot_steps[0], style.shot_steps[1] + 1))
    if own and cast.foreign and rng.random() < style.foreign and shots[-1].object_id:
        alike = cast.look_alikes and rng.random() < style.look_alikes
        source = int(rng.choice(cast.look_alikes if alike else cast.foreign))
        return Shot(source, 0, 'plain', int(rng.integers(lengths[source])), 1, length)
    number = _draw_object(own, len(cast.own), style, order, rng)
    source = cast.own[number - 1]
    if number not in own:  # the frame of the prompt is a plain one
        return Shot(source, number, 'plain', int(rng.integers(lengths[source])), 1, length)
    if rng.random() < style.replays:
        earlier = [shot for shot in shots if shot.object_id == number]
        return earlier[int(rng.integers(len(earlier)))]
    direction = 0 if rng.random() < style.freezes else int(rng.choice([-1, 1]))
    shares = np.array(list(style.looks.values()), float)
    look = str(rng.choice(list(style.looks), p=shares / shares.sum()))
    return Shot(source, number, look, int(rng.integers(lengths[source])), direction, length)


def _draw_object(
    own: list[int], objects: int, style: EditStyle, order: np.ndarray, rng: np.random.Generator
) -> int:
    """The object of the next shot, another than that of the last where there is one."""
    known = sorted(set(own))
    if not own or (len(known) < objects and rng.random() < style.debuts):
        return len(known) + 1
    others = [number for number in known if number != own[-1]]
    if not others:
        return own[-1] if objects == 1 else len(known) + 1
    if len(own) > 1 and own[-2] != own[-1] and rng.random() < style.alternation:
        return own[-2]
    weight = np.array([(1.0 + order[number - 1]) ** -style.favourites for number in others])
    return int(rng.choice(others, p=weight / weight.sum()))
