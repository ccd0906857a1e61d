"""The schedules of long synthetic videos: smooth tracks through key frames, drawn visit by visit from a seed.

Every schedule is drawn in the order of time, so that of a longer video begins with that of a shorter one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mmstremn.datasets.synthetic.layers import ROW, Waves

POSE = slice(ROW['x'], ROW['angle'] + 1)
"""The rows of ``TRACKS`` that key frames set: x and y in shares of W and H, log scale, angle in radians."""
NOWHERE = np.array([-2.0, -2.0, 0.0, 0.0])
"""The pose of a layer that is away."""
AWAY = (20, 150)
"""Shortest and longest absence in frames."""
SEEN_SHARE = 0.7
"""Absences so far over frames in the picture so far, at most."""
LONGEST_LEG = 45
"""Frames between two places of what stays in the picture, fewer than this."""
RAMP = 6
"""Frames in which a blur sets in and fades."""


@dataclass(eq=False)
class Track:
    """A curve through key frames that halts at each: smoothstep between neighbours, still before and after
    all.

    Attributes:
        times: (n,) ascending frames.
        values: (n,) or (n, C) values there.
    """

    times: np.ndarray
    values: np.ndarray

    @classmethod
    def through(cls, keys: list[tuple]) -> 'Track':
        """The track through pairs of frame and value."""
        times, values = zip(*keys, strict=True)
        return cls(np.array(times, float), np.array(values, float))

    def __call__(self, time: float) -> np.ndarray | float:
        """The value, () or (C,), at a time in frames."""
        place = max(0, int(np.searchsorted(self.times, time, 'right')) - 1)
        if place + 1 == len(self.times) or time < self.times[0]:
            return self.values[place]
        start, end = self.times[place : place + 2]
        share = (time - start) / (end - start)
        return self.values[place] + (self.values[place + 1] - self.values[place]) * (
            share * share * (3 - 2 * share)
        )


@dataclass(eq=False)
class Journey:
    """What a layer of a long video does: the small motions of ``Waves``, plus poses and looks from key
    frames.

    Attributes:
        waves: Deformation and light, and a little sway around the pose.
        pose: (4,) values of ``POSE``.
        blend: Position on the ring of textures.
    """

    waves: Waves
    pose: Track
    blend: Track

    def __call__(self, time: float) -> np.ndarray:
        """(N,) values of ``TRACKS`` at a time in frames."""
        values = self.waves(time)
        values[POSE] += self.pose(time)
        values[ROW['blend']] = self.blend(time)
        return values


class Door(NamedTuple):
    """A place behind which an object can vanish: the middle of a panel in front of everything.

    Attributes:
        x, y: In shares of W and H.
        log_scale: Of an object that fits behind it.
    """

    x: float
    y: float
    log_scale: float


@dataclass(eq=False)
class Plan:
    """A schedule in the making.

    Attributes:
        poses: Pairs of frame and (4,) pose.
        blends: Pairs of frame and position on the ring of textures.
        absences: (first frame, last frame, pose from which it left) of every absence.
    """

    poses: list = field(default_factory=list)
    blends: list = field(default_factory=list)
    absences: list = field(default_factory=list)

    def journey(self, waves: Waves) -> Journey:
        """The finished schedule, around waves that only sway."""
        return Journey(waves, Track.through(self.poses), Track.through(self.blends))


class Body(NamedTuple):
    """What a schedule needs to know of a layer.

    Attributes:
        looks: K, the number of its textures.
        extent: (2,) its half sides at scale 1, in shares of W and H, generously.
        size_and_turn: From a frame to the pair (log scale, angle), for slow drift; None for new ones on every
            visit.
        door: A panel to vanish behind.
    """

    looks: int
    extent: np.ndarray
    size_and_turn: Callable[[float], tuple[float, float]] | None = None
    door: Door | None = None


def sway(rng: np.random.Generator) -> Waves:
    """Waves for a ``Journey``: a little of everything, around nothing."""
    waves = Waves.sample(rng, strength=0.5)
    waves.centre[:] = 0
    waves.amplitude[POSE] *= 0.15
    return waves


def slow_size_and_turn(rng: np.random.Generator) -> Callable[[float], tuple[float, float]]:
    """Growth by a factor of up to 2 and turns of up to a full one that swing back within some hundred
    frames."""
    period, phase = rng.uniform(250, 500, 2), rng.uniform(0, 2 * np.pi, 2)
    size, turn = rng.uniform(0.25, 0.4), rng.uniform(1.5, 3)

    def values(time: float) -> tuple[float, float]:
        wave = np.sin(2 * np.pi * time / period + phase)
        return size * wave[0], turn * wave[1]

    return values


def visits(rng: np.random.Generator, body: Body, num_frames: int) -> Plan:
    """An object that first shows all its looks, then comes and goes: back elsewhere, and never as it was last
    seen.

    The look in which it comes back is neither of the last two of the visit before, unless it has two looks
    only.
    """
    plan, now, seen, gone = Plan(), 0, 0, 0
    looks, entry = _first_looks(rng, body.looks), None
    while True:
        started = now
        pose = _visit_pose(rng, body, now)
        now, shown = _show(rng, plan, body, looks, now, entry, pose)
        if now > num_frames:
            return plan
        seen += now - started
        longest = max(AWAY[0], SEEN_SHARE * seen - gone)
        away = int(np.clip(np.exp(rng.uniform(*np.log(AWAY))), AWAY[0], longest))
        gone += away
        side = rng.integers(4)
        by_door = body.door is not None and rng.random() < 0.6
        exit_pose = _threshold(rng, body, plan.poses[-1][1], side, by_door)
        leg = _leg(rng, plan.poses[-1][1], exit_pose)
        now += leg
        plan.poses += [(now, exit_pose), (now + 1, NOWHERE), (now + away - 1, NOWHERE)]
        plan.absences.append((now, now + away, exit_pose))
        plan.blends.append((now, plan.blends[-1][1]))
        now += away
        looks = _next_looks(rng, body.looks, shown)
        plan.blends.append((now - away + 1, looks[0]))
        other_side = (side + rng.integers(1, 4)) % 4
        entry = _threshold(
            rng, body, _visit_pose(rng, body, now), other_side, body.door is not None and not by_door
        )


def _first_looks(rng: np.random.Generator, count: int):
    """All looks, one way round the ring."""
    looks = rng.integers(count) + rng.choice((-1, 1)) * np.arange(count)
    return list(looks.astype(float))


def _next_looks(rng: np.random.Generator, count: int, shown: list[float]):
    """One look that is not among the last two shown, and perhaps one of its neighbours."""
    last = {int(look) % count for look in (shown[-2:] if count > 2 else shown[-1:])}
    look = float(rng.choice([look for look in range(count) if look not in last]))
    return [look] if rng.random() < 0.4 else [look, look + rng.choice((-1, 1))]


def _visit_pose(rng: np.random.Generator, body: Body, time: float):
    """A pose for the visit that begins at a time; only its scale and angle matter."""
    if body.size_and_turn:
        return np.array([0.5, 0.5, *body.size_and_turn(time)])
    return np.array([0.5, 0.5, rng.uniform(-0.25, 0.35), rng.uniform(-np.pi, np.pi)])


def _show(
    rng: np.random.Generator,
    plan: Plan,
    body: Body,
    looks: list[float],
    now: float,
    entry: np.ndarray | None,
    pose: np.ndarray,
):
    """Plan one visit from ``now`` on: come in, show the looks one after the other, wander; returns its end,
    the looks."""
    if entry is None:
        plan.poses.append((now, _inside(rng, body, pose, now)))
    else:
        plan.poses.append((now, entry))
        pose[2:] = entry[2:]
        target = _inside(rng, body, pose, now)
        now += _leg(rng, entry, target)
        plan.poses.append((now, target))
    until = now
    first = entry is None
    for place, look in enumerate(looks):
        if place:
            until += rng.integers(10, 20)
        plan.blends.append((until, look))
        until += rng.integers(8, 16) if first else rng.integers(25, 45)
        plan.blends.append((until, look))
    while now < until:
        target = _inside(rng, body, pose, now)
        now += rng.integers(14, 30)
        plan.poses.append((now, target))
    return now, looks


def _inside(rng: np.random.Generator, body: Body, pose: np.ndarray, time: float):
    """A pose well inside the picture, near ``pose`` in scale and angle, or as slow drift has it."""
    size, turn = pose[2:] + rng.uniform(-1, 1, 2) * (0.12, 0.5)
    if body.size_and_turn:
        size, turn = body.size_and_turn(time)
    return np.array([*rng.uniform(0.2, 0.8, 2), size, turn])


def _threshold(rng: np.random.Generator, body: Body, pose: np.ndarray, side: int, by_door: bool):
    """A pose where the layer is just out of the picture on one of four sides, or behind the panel."""
    if by_door:
        return np.array([body.door.x, body.door.y, min(pose[2], body.door.log_scale), pose[3]])
    place = rng.uniform(0.25, 0.75, 2)
    reach = body.extent[side % 2] * np.exp(pose[2]) + 0.05
    place[side % 2] = -reach if side < 2 else 1 + reach
    return np.array([*place, *pose[2:]])


def _leg(rng: np.random.Generator, start: np.ndarray, end: np.ndarray):
    """Frames for the way between two poses."""
    return int(np.linalg.norm(end[:2] - start[:2]) * rng.uniform(16, 28)) + 4


def drift(rng: np.random.Generator, body: Body, num_frames: int) -> Plan:
    """A layer that stays in the picture while its look, scale and angle drift to the far end and swing
    back."""
    plan, (places, looks) = Plan(), rng.spawn(2)
    span = rng.uniform(60, 110) * (body.looks - 1)
    blend, far = rng.integers(body.looks) + np.array([0.0, body.looks - 1])
    now = 0
    while now <= num_frames + LONGEST_LEG:
        plan.poses.append((now, _inside(places, body, np.zeros(4), now)))
        now += places.integers(18, LONGEST_LEG)
    now = 0
    while now <= num_frames + 2 * span:
        plan.blends.append((now, blend))
        now += span * looks.uniform(0.8, 1.2)
        blend, far = far, blend
    return plan


def wander(rng: np.random.Generator, body: Body, num_frames: int) -> Plan:
    """A layer of one look that is always in the picture, or nearly."""
    plan, now = Plan(blends=[(0, 0.0)]), 0
    while now <= num_frames + LONGEST_LEG:
        pose = _visit_pose(rng, body, now)
        plan.poses.append((now, _inside(rng, body, pose, now)))
        now += rng.integers(22, LONGEST_LEG)
    return plan


def impostor(rng: np.random.Generator, body: Body, num_frames: int, absences: list) -> Plan:
    """A layer of one look that comes in where an object left, as if it came back, and goes soon after it
    did."""
    plan = Plan(poses=[(-1, NOWHERE)], blends=[(0, 0.0)])
    for left, back, pose in absences:
        if left > num_frames:
            break
        if not (pose[:2] < 0).any() and not (pose[:2] > 1).any():
            pose = _threshold(rng, body, pose, rng.integers(4), False)
        now = max(left + 3, plan.poses[-1][0] + 2)
        leave = back + rng.integers(5, 25)
        if leave - now < 25:
            continue
        plan.poses += [(now - 1, NOWHERE), (now, pose)]
        while now < leave:
            now += rng.integers(10, 22)
            plan.poses.append((now, _inside(rng, body, pose, now)))
        end = _threshold(rng, body, pose, rng.integers(4), False)
        now += _leg(rng, plan.poses[-1][1], end)
        plan.poses += [(now, end), (now + 1, NOWHERE)]
    return plan


def blurs(rng: np.random.Generator, num_frames: int, strongest: np.ndarray | float) -> Track:
    """Stretches of blur of some 10 to 40 frames with 50 to 140 sharp ones between them; frame 0 is sharp.

    Args:
        rng: numpy's Generator.
        num_frames: T.
        strongest: () or (C,) largest standard deviations, as shares of sqrt(H * W).

    Returns:
        A track of () or (C,) standard deviations.
    """
    strongest = np.asarray(strongest, float)
    keys, now = [(0, 0 * strongest)], 0
    while now <= num_frames:
        now += rng.integers(50, 140)
        strength = strongest * rng.uniform(0.5, 1)
        if strongest.ndim and rng.random() < 0.5:
            strength = strength * rng.permutation([0.1] + [1.0] * (len(strongest) - 1))
        keys += [(now, 0 * strongest), (now + RAMP, strength)]
        now += RAMP + rng.integers(8, 30)
        keys += [(now, strength), (now + RAMP, 0 * strongest)]
        now += RAMP
    return Track.through(keys)
