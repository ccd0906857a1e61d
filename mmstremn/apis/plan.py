"""Which frames of a video are segmented from which given masks: in both directions, the nearer masks win."""

import hashlib
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from mmstremn.structures import GivenIds
from mmstremn.structures.prompts import GivenPrompts

DIRECTIONS = ('both', 'forward')
MERGES = ('nearer', 'blend')
Removals: TypeAlias = Mapping[int, int | Iterable[int]] | None
"""By the first frame without it: the id of an object that is removed, or several."""


def read_removals(removals: Removals) -> dict[int, set[int]]:
    """The objects that are removed, by the first frame without them.

    Raises:
        TypeError: It is no mapping of frames to an id or several.
    """
    try:
        return {
            operator.index(frame): {
                *map(operator.index, objects if isinstance(objects, Iterable) else [objects])
            }
            for frame, objects in dict(removals or {}).items()
        }
    except (TypeError, ValueError):
        raise TypeError(
            f'removals: expected ids of objects by frame, such as {{120: [2]}}, got {removals!r}'
        ) from None


@dataclass(frozen=True)
class Span:
    """A run of one stream over consecutive frames, forwards or backwards.

    Attributes:
        frames: In the order in which they are computed; the first has masks.
        keyframes: Those of ``frames`` whose masks the stream is given, in the same order.
    """

    frames: range
    keyframes: tuple[int, ...]

    def place(self, frame: int) -> int:
        """Which of ``frames`` it is."""
        return self.frames.index(frame)


@dataclass(frozen=True)
class Source:
    """Where the mask of an object in a frame comes from: the number of a span, and its weight in 0..1."""

    span: int
    weight: float = 1.0


class Plan:
    """The spans of a video, and for each frame and object the spans that its mask comes from.

    An object's mask is propagated from the frames whose given masks speak of it. Between two such frames the
    nearer one wins (``'nearer'``, the earlier where both are equally near), or both are averaged with weights
    that fall linearly with the distance (``'blend'``). A stream goes on over frames whose masks speak of
    some of its objects; where they speak of all of them a new one begins, so that a correction changes
    nothing beyond the middle between it and the next masks. An object that is removed is in no frame from
    there on, until masks speak of it again.

    Args:
        given: The masks, or also points, by frame.
        length: Frames of the video.
        direction: ``'both'``, or ``'forward'``: one stream from the first masks to the end, as ``step`` of
            :class:`~mmstremn.models.VOSStream` computes it.
        merge: ``'nearer'`` or ``'blend'``.
        removals: The objects that are removed, by the first frame without them.

    Raises:
        ValueError: An unknown ``direction`` or ``merge``, no masks, masks outside of the video, or removals
            outside of it, of an object without masks before or with masks at that frame.
        TypeError: Removals that are no ids by frame.
    """

    def __init__(
        self,
        given: Mapping[int, GivenIds | GivenPrompts],
        length: int,
        direction: str = 'both',
        merge: str = 'nearer',
        removals: Removals = None,
    ):
        for name, value, known in (('direction', direction, DIRECTIONS), ('merge', merge, MERGES)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got '{value}'")
        if not given:
            raise ValueError('no masks are given: expected those of at least one frame')
        for frame in given:
            if not 0 <= frame < length:
                raise ValueError(f'masks of frame {frame}: expected a frame in 0..{length - 1}')
        self.given, self.length = dict(sorted(given.items())), length
        self.direction, self.merge = direction, merge
        self.object_ids = sorted({k for masks in given.values() for k in masks.objects})
        self._keys = {
            k: [frame for frame, masks in self.given.items() if k in masks.objects] for k in self.object_ids
        }
        self.removals = dict(sorted(read_removals(removals).items()))
        self._check_removals()
        self._ends = {
            k: [frame for frame, objects in self.removals.items() if k in objects] for k in self.object_ids
        }
        self.spans = self._forward()
        self._num_forward = len(self.spans)
        if direction == 'both':
            self.spans += self._backward()
        self._removed = [self._removed_in(span) for span in self.spans]

    def _check_removals(self) -> None:
        for frame, objects in self.removals.items():
            if not 0 <= frame < self.length:
                raise ValueError(f'removal at frame {frame}: expected a frame in 0..{self.length - 1}')
            for k in sorted(objects):
                keys = self._keys.get(k, [])
                if frame in keys:
                    raise ValueError(
                        f'frame {frame}: object {k} is given and removed, expected one of the two'
                    )
                if not keys or frame < keys[0]:
                    known = [i for i in self.object_ids if self._keys[i][0] < frame]
                    raise ValueError(
                        f'removal at frame {frame}: no object {k} before it, expected '
                        + (f'one of {known}' if known else 'a frame behind the first masks of the object')
                    )

    @property
    def is_ascending(self) -> bool:
        """Frames become final in ascending order."""
        return self._num_forward == len(self.spans)

    def sources(self, frame: int) -> dict[int, list[Source]]:
        """The spans of each object that has a mask in the frame."""
        found = {k: self._sources_of(k, frame) for k in self.object_ids}
        return {k: sources for k, sources in found.items() if sources}

    def removed(self, span: int) -> dict[int, list[int]]:
        """The objects that the stream of a span is to forget, by the frame before which it is to."""
        return self._removed[span]

    def _removed_in(self, span: Span) -> dict[int, list[int]]:
        events: Mapping[int, set[int]] = self.removals
        if span.frames.step < 0:
            events = {self.length - 1 - frame: gone for frame, gone in self._mirrored_removals().items()}
        known = {k for key in span.keyframes for k in self.given[key].objects}
        return {f: sorted(gone & known) for f, gone in events.items() if f in span.frames and gone & known}

    def _sources_of(self, k: int, frame: int) -> list[Source]:
        before, after = _around(self._keys[k], frame)
        ended, end = _around(self._ends[k], frame)
        if before is not None and ended is not None and ended > before:
            return []
        if before is not None and end is not None and after is not None and end < after:
            after = None
        if self.direction == 'forward' or after is None or before == frame:
            return [] if before is None else [Source(self._span_of(before, frame, False))]
        if before is None:
            return [Source(self._span_of(after, frame, True))]
        share = (frame - before) / (after - before)
        if self.merge == 'nearer':
            backwards = frame - before > after - frame
            return [Source(self._span_of(after if backwards else before, frame, backwards))]
        spans = self._span_of(before, frame, False), self._span_of(after, frame, True)
        return [Source(span, weight) for span, weight in zip(spans, (1 - share, share), strict=True)]

    def _span_of(self, key: int, frame: int, backwards: bool) -> int:
        """The number of the span that is given ``key`` and computes ``frame``, in one direction."""
        numbers = range(self._num_forward, len(self.spans)) if backwards else range(self._num_forward)
        return next(n for n in numbers if key in self.spans[n].keyframes and frame in self.spans[n].frames)

    def _forward(self) -> list[Span]:
        speaks = {frame: set(masks.objects) for frame, masks in self.given.items()}
        runs = self._runs(speaks, self.removals, self._reach)
        return [Span(range(keys[0], stop), tuple(keys)) for keys, stop in runs]

    def _backward(self) -> list[Span]:
        """The same of the video that runs backwards; spans that would hold nothing but their masks are left
        out."""
        last = self.length - 1
        mirrored = {last - frame: set(masks.objects) for frame, masks in self.given.items()}
        removals = self._mirrored_removals()
        runs = self._runs(mirrored, removals, lambda gap: self._reach(gap - 1 + (self.merge == 'blend')))
        spans = [
            Span(range(last - keys[0], last - stop, -1), tuple(last - key for key in keys))
            for keys, stop in runs
        ]
        return [span for span in spans if len(span.frames) > 1]

    def _mirrored_removals(self) -> dict[int, set[int]]:
        """Of the video that runs backwards: an object that was removed before its masks is in no frame beyond
        them."""
        removals: dict[int, set[int]] = {}
        for k, keys in self._keys.items():
            for key, last in zip(keys[1:], keys, strict=False):
                if any(last < end < key for end in self._ends[k]):
                    removals.setdefault(self.length - key, set()).add(k)
        return removals

    def _reach(self, gap: int) -> int:
        """How many frames behind its masks a span is needed, if the next ones are ``gap`` frames away."""
        return gap - 1 if self.merge == 'blend' else gap // 2

    def _runs(
        self, speaks: dict[int, set[int]], removals: Mapping[int, set[int]], reach: Callable[[int], int]
    ) -> list[tuple[list[int], int]]:
        """The frames with masks and the end of each span, of a video that runs forwards."""
        if self.direction == 'forward':
            return [(sorted(speaks), self.length)]
        runs: list[list[int]] = []
        known: set[int] = set()
        for key in sorted({*speaks, *removals}):
            known = known - removals.get(key, set())
            if key not in speaks:
                continue
            if known <= speaks[key]:
                runs.append([])
                known = set()
            runs[-1].append(key)
            known |= speaks[key]
        return [(keys, self._end(keys, speaks, removals, reach)) for keys in runs]

    def _end(
        self,
        keys: list[int],
        speaks: dict[int, set[int]],
        removals: Mapping[int, set[int]],
        reach: Callable[[int], int],
    ) -> int:
        """The frame before which a span that is given ``keys`` may end."""
        end = 0
        for k in set().union(*(speaks[key] for key in keys)):
            last = max(key for key in keys if k in speaks[key])
            later = min((key for key in speaks if key > last and k in speaks[key]), default=None)
            stop = self.length if later is None else last + reach(later - last) + 1
            gone = min((frame for frame in removals if frame > last and k in removals[frame]), default=None)
            if gone is not None and (later is None or gone < later):
                stop = gone
            end = max(end, stop)
        return end

    # What a result depends on.

    def state_key(self, span: int, frame: int) -> str:
        """Identifies what the stream of a span has seen up to a frame, in all plans of the video."""
        run = self.spans[span]
        there = run.place(frame)
        seen: list = [(key, self._digests[key]) for key in run.keyframes if run.place(key) <= there]
        seen += [(k, gone) for k, gone in self._removed[span].items() if run.place(k) <= there]
        return _digest(repr((run.frames.step, run.frames[0], seen)).encode())

    def recipe(self, frame: int) -> str:
        """Identifies what the masks of a frame depend on, in all plans of the video."""
        sources = [
            (k, [(self.state_key(source.span, frame), round(source.weight, 6)) for source in sources])
            for k, sources in self.sources(frame).items()
        ]
        return _digest(repr(sources).encode())

    @cached_property
    def _digests(self) -> dict[int, str]:
        return {frame: _digest(_content(given)) for frame, given in self.given.items()}


def _around(frames: list[int], frame: int) -> tuple[int | None, int | None]:
    """The last of ascending ``frames`` up to a frame, and the first one after it."""
    place = bisect_right(frames, frame)
    return frames[place - 1] if place else None, frames[place] if place < len(frames) else None


def _content(given: GivenIds | GivenPrompts) -> bytes:
    prompts = GivenPrompts.of(given)
    masks = prompts.masks
    content = b'' if masks is None else masks.ids.tobytes() + repr(masks.objects).encode()
    points = [(k, rows.tolist()) for k, rows in prompts.points.items()]
    return content + (repr(points).encode() if points else b'')


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
