"""A video with masks that may be added and corrected: what is known is kept, what changes is computed."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmstremn.apis.plan import Plan, Removals, read_removals
from mmstremn.apis.result_store import ResultStore, StoredResult
from mmstremn.apis.results import FrameResult, confidences
from mmstremn.datasets.io.frame_sources import fingerprint, iterate_run
from mmstremn.models import MergedStream, VOSegmentor, VOSStream
from mmstremn.models.layers import most_probable
from mmstremn.models.segmentation.inference import slot_stamps
from mmstremn.structures import GivenIds
from mmstremn.structures.prompts import INSTEAD, GivenPrompts, read_prompts
from mmstremn.structures.video import Video

STATE_INTERVAL = 50  # frames between states of a stream that are kept


class VOSSession:
    """Segments a video from masks at any of its frames, in both directions, and again after corrections.

    Results are kept in a folder; a few decoded frames and the memories of one stream are all that is held.
    :meth:`run` computes what has no result yet or whose masks have changed. Which that is, see :class:`Plan`.

    Args:
        model: Segments.
        video: Its frames.
        masks: By frame; each in any form of :func:`~mmstremn.structures.read_masks`, or as
            :func:`~mmstremn.structures.prompts.read_prompts` returns it.
        direction: ``'both'`` or ``'forward'``.
        merge: Where masks of two frames meet: ``'nearer'`` or ``'blend'``.
        folder: For the results, to go on with them later; None: a temporary one, removed by :meth:`close`.
        about: What the results depend on beside masks and video (the model's weights, ...), see
            :class:`ResultStore`.
        seed: For memories that draw at random.
        removals: The objects that are removed, by the first frame without them.

    Attributes:
        plan: Which masks each frame comes from; None while no masks are given.

    Raises:
        ValueError: Masks of another size than the video, of a frame that is not in it, or without an object;
            removals that :class:`Plan` refuses; or the folder holds results of something else.
    """

    def __init__(
        self,
        model: VOSegmentor,
        video: Video,
        masks: Mapping[int, object] | None = None,
        direction: str = 'both',
        merge: str = 'nearer',
        folder: str | Path | None = None,
        about: dict | None = None,
        seed: int = 0,
        removals: Removals = None,
    ):
        self.model, self.video, self.seed = model, video, seed
        self.direction, self.merge = direction, merge
        self.plan: Plan | None = None
        self._given: dict[int, GivenIds | GivenPrompts] = {}
        self._removals: dict[int, set[int]] = {}
        for frame in sorted(masks or {}):
            self._take(frame, (masks or {})[frame])
        self._removals = read_removals(removals)
        self.plan = self._planned(self._removals) if self._given else None
        self._temporary = tempfile.TemporaryDirectory(prefix='mmstremn-') if folder is None else None
        about = dict(frames=video.num_frames, size=list(video.size), seed=seed) | (about or {})
        if folder is not None:
            about['video_fingerprint'] = fingerprint(video)
        self._store = ResultStore(folder or self._temporary.name, about)  # type: ignore[union-attr]

    def __enter__(self) -> 'VOSSession':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Remove the results if their folder is a temporary one."""
        self._store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    # What is given.

    @property
    def object_ids(self) -> list[int]:
        """The ids of all masks, ascending."""
        return [] if self.plan is None else self.plan.object_ids

    @property
    def keyframes(self) -> list[int]:
        """The frames with masks, ascending."""
        return sorted(self._given)

    def given(self, frame: int) -> GivenIds | GivenPrompts:
        """The masks given at a frame; also the points, where there are some."""
        return self._given[frame]

    def correct(self, frame: int, masks=None, points=None, boxes=None) -> None:
        """Give masks, points or boxes of a frame; of the objects they speak of they replace what was given at
        this frame before. Points and a box that come with a mask of their object refine it; without one they
        alone say where the object is.

        Args:
            frame: Its number.
            masks: Any form of :func:`~mmstremn.structures.read_masks`. Masks of all objects change the fewest
                other frames.
            points: By object id: rows (x, y, label) in pixels, label 1 on the object and 0 beside it; for
                models that take them, such as ``Sam2Segmentor``.
            boxes: By object id: (x1, y1, x2, y2) in pixels; likewise.

        Raises:
            ValueError: As of the class, or the model takes no points and boxes; what was given before stays.
        """
        self._take(frame, masks, points, boxes)
        self._replan()

    def forget(self, frame: int) -> None:
        """Take back the masks of a frame."""
        self._given.pop(frame)
        self._replan()

    def remove(self, k: int, frame: int | None = None) -> None:
        """Remove an object.

        Args:
            k: Its id.
            frame: The first frame without it; it comes back with later masks of it. None: from all frames.

        Raises:
            ValueError: There is no such object (before ``frame``), or it is given at this frame.
        """
        if k not in self.object_ids:
            raise ValueError(f'no object {k}: there are {self.object_ids}')
        if frame is not None:
            removals = {**self._removals, frame: {k, *self._removals.get(frame, ())}}
            self.plan = self._planned(removals)
            self._removals = removals
            return
        left = {key: GivenPrompts.of(given).without([k]) for key, given in self._given.items()}
        self._given = {key: given.plain() for key, given in left.items() if given.objects}
        self._replan()

    def _take(self, frame: int, masks=None, points=None, boxes=None) -> None:
        name = f'of frame {frame} of {self.video.name}'
        if not 0 <= frame < self.video.num_frames:
            raise ValueError(f'masks {name}: expected a frame in 0..{self.video.num_frames - 1}')
        known = sorted({k for given in self._given.values() for k in given.objects})
        given = read_prompts(masks, points, boxes, self.video.size, known, name)
        if given is None:
            raise ValueError(f'masks {name}: expected masks, points or boxes of at least one object')
        check_takes(type(self.model), given, name)
        self._removals.get(frame, set()).difference_update(given.objects)
        if frame in self._given:
            given = GivenPrompts.of(self._given[frame]).replaced_by(given)
        self._given[frame] = given.plain()

    def _replan(self) -> None:
        """Plan anew; removals of objects without masks before them go."""
        first: dict[int, int] = {}
        for frame in sorted(self._given):
            for k in self._given[frame].objects:
                first.setdefault(k, frame)
        left = {
            frame: {k for k in gone if first.get(k, frame) < frame} for frame, gone in self._removals.items()
        }
        self._removals = {frame: gone for frame, gone in left.items() if gone}
        self.plan = self._planned(self._removals) if self._given else None

    def _planned(self, removals: Mapping[int, set[int]]) -> Plan:
        return Plan(self._given, self.video.num_frames, self.direction, self.merge, removals)

    # Results.

    def is_done(self, frame: int) -> bool:
        """Whether the result of a frame is known, and still that of the masks that are given."""
        found = self._store.get(frame)
        recipe = None if self.plan is None else self.plan.recipe(frame)
        return found is not None and found.recipe == recipe

    def pending(self) -> list[int]:
        """The frames that :meth:`run` is to give, ascending."""
        if self.plan is None:
            return []
        frames = range(self.video.num_frames)
        return [frame for frame in frames if self.plan.sources(frame) and not self.is_done(frame)]

    def result(self, frame: int) -> FrameResult:
        """The result of a frame as it is known; nothing but background where it is not known yet, or no
        object is left."""
        return self._result(frame, self.video.frame(frame))

    def results(self, frames: range | None = None) -> Iterator[FrameResult]:
        """Results of frames (None: of all) in their order, as they are known; decoded ahead."""
        frames = range(self.video.num_frames) if frames is None else frames
        for index, frame in zip(frames, iterate_run(self.video, frames), strict=True):
            yield self._result(index, frame)

    def _result(self, index: int, frame: np.ndarray) -> FrameResult:
        found = self._store.get(index)
        if found is None or not (self.plan and self.plan.sources(index)):
            return FrameResult(self.video.name, index, frame, np.zeros(self.video.size, np.uint8))
        slots = None if found.slots is None else np.array(found.slots)
        ids = self._store.ids(index)
        if ids.shape != self.video.size:
            raise ValueError(
                f'{self._store.folder}: the mask of frame {index} is {ids.shape}, expected '
                f'{self.video.size}: remove the folder'
            )
        return FrameResult(self.video.name, index, frame, ids, dict(found.confidence), slots)

    def run(self) -> Iterator[FrameResult]:
        """Compute what is pending; results come in the order in which they are found.

        The generator may be closed at any time: what it gave is kept.
        """
        if self.plan is None:
            return
        pending = set(self.pending())
        for number in range(len(self.plan.spans)):
            yield from self._run_span(self.plan, number, pending)

    def run_in_order(self, report: Callable[[int], None] | None = None) -> Iterator[FrameResult]:
        """Compute what is pending and give the results of all frames in their order.

        They come as they are found where all masks are propagated forwards. Otherwise all are computed before
        the first is given, and frames are decoded again.

        Args:
            report: Called with 1 for every frame whose result is computed.
        """
        after, length = 0, self.video.num_frames
        for result in self.run():
            if report is not None:
                report(1)
            if self.plan is not None and self.plan.is_ascending:
                yield from self.results(range(after, result.index))
                yield result
                after = result.index + 1
        yield from self.results(range(after, length))

    def _run_span(self, plan: Plan, number: int, pending: set[int]) -> Iterator[FrameResult]:
        span = plan.spans[number]
        wanted = [frame for frame in span.frames if self._is_wanted(plan, number, frame, pending)]
        if not wanted:
            return
        place, stream = self._resumed(plan, number, span.place(wanted[0]))
        run = span.frames[place : span.place(wanted[-1]) + 1]
        needed = set(wanted)
        for index, frame in zip(run, iterate_run(self.video, run), strict=True):
            if gone := {*plan.removed(number).get(index, ())} & {*stream.object_ids}:
                stream.remove(gone)
            given = plan.given[index] if index in span.keyframes else None
            probabilities = stream.probabilities(frame, given)
            if index in needed:
                yield from self._finish(plan, number, index, frame, stream, probabilities)
            if span.place(index) % STATE_INTERVAL == STATE_INTERVAL - 1:
                self._store.put_state(stream, plan.state_key(number, index), span.place(index))

    def _is_wanted(self, plan: Plan, number: int, frame: int, pending: set[int]) -> bool:
        if frame not in pending:
            return False
        spans = _spans_of(plan, frame)
        if number not in spans:
            return False
        return len(spans) == 1 or not self._store.has_part(plan.state_key(number, frame), frame)

    def _resumed(self, plan: Plan, number: int, place: int) -> tuple[int, VOSStream | MergedStream]:
        """A stream of the span that is to go on at a place up to ``place``, and that place."""
        span = plan.spans[number]
        keys = dict.fromkeys(plan.state_key(number, frame) for frame in span.frames[: place + 1])
        kept = [(there, key) for key in keys for there in self._store.state_places(key) if there < place]
        for there, key in sorted(kept, reverse=True):
            if plan.state_key(number, span.frames[there]) == key:
                return there + 1, self.model.load_stream(self._store.state_path(key, there))
        return 0, self.model.new_stream(self.seed)

    def _finish(
        self, plan: Plan, number: int, index: int, frame: np.ndarray, stream, probabilities: Tensor
    ) -> Iterator[FrameResult]:
        """Keep the result of a frame, or a part of it; give it if all parts are there."""
        ids, sure = stream.ids_of(probabilities), confidences(probabilities, stream.object_ids)
        sources = plan.sources(index)
        spans = _spans_of(plan, index)
        slots = self._slots(plan.spans[number].frames, stream)
        if len(spans) > 1:
            planes = dict(zip(stream.object_ids, probabilities[1:].cpu().numpy(), strict=True))
            self._store.put_part(plan.state_key(number, index), index, planes)
            parts = {n: self._store.get_part(plan.state_key(n, index), index) for n in spans}
            if None in parts.values():
                return
            merged = merge_parts(parts, sources)  # type: ignore[arg-type]
            table = torch.tensor([0, *sources], dtype=torch.uint8)
            ids, sure = table[most_probable(merged)], confidences(merged, list(sources))
        array = ids.cpu().numpy()
        self._store.put(index, array, StoredResult(plan.recipe(index), sure, slots))
        yield FrameResult(
            self.video.name, index, frame, array, sure, None if slots is None else np.array(slots)
        )

    def _slots(self, frames: range, stream) -> list[int] | None:
        stamps = slot_stamps(stream)
        return None if stamps is None else [frames[k] if k >= 0 else -1 for k in stamps.tolist()]


def check_takes(kind: type, given: object, name: str) -> None:
    """Raises a ValueError where points or boxes ``name`` are given to a class of models that takes none."""
    if isinstance(given, GivenPrompts) and given.points and not getattr(kind, 'takes_points', False):
        raise ValueError(f'points and boxes {name}: {kind.__name__} cannot use them: {INSTEAD}')


def _spans_of(plan: Plan, frame: int) -> set[int]:
    return {source.span for sources in plan.sources(frame).values() for source in sources}


def merge_parts(parts: dict[int, dict[int, np.ndarray]], sources: dict) -> Tensor:
    """(1 + O, H, W) probabilities of objects that come from several spans: the background is where none is.

    Args:
        parts: Planes (H, W) by span and object.
        sources: Of each object, see :meth:`Plan.sources`.
    """
    planes = [
        sum(source.weight * torch.from_numpy(parts[source.span][k]) for source in own)
        for k, own in sources.items()
    ]
    objects = torch.stack(planes)
    return torch.cat([(1 - objects).prod(0, keepdim=True), objects])
