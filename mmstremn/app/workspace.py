"""What one user does: a video, its objects, runs, corrections and downloads. Knows nothing of the page."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, RLock
from typing import NamedTuple

import cv2
import numpy as np

from mmstremn.apis import FrameResult, OutputInfo, VOSSession, open_outputs
from mmstremn.apis.outputs import FILES, Review
from mmstremn.apis.vos_inferencer import read_given
from mmstremn.app.choices import Choice, Models, takes_points
from mmstremn.app.grabcut import mask_in_box
from mmstremn.app.marks import Marks, only
from mmstremn.app.pictures import draw_prompts, fitted, scale_of
from mmstremn.app.uploads import DEFAULT_LIMITS, Limits, check_file, checked_video
from mmstremn.models import VOSegmentor
from mmstremn.structures import GivenIds, Video
from mmstremn.structures.masks import MAX_ID
from mmstremn.structures.prompts import GivenPrompts
from mmstremn.visualization import draw_slot_timeline, overlay

THUMBNAIL = 90  # rows
MOST_RUNS = 3  # choices of a memory whose results are kept


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        done, total: Frames; none is done while other users' runs are computed first.
        seconds: Since it began.
        index: Of the frame that was done last.
        picture: That frame with its masks; None where it is not shown.
    """

    done: int
    total: int
    seconds: float = 0.0
    index: int = 0
    picture: np.ndarray | None = None

    @property
    def seconds_left(self) -> float:
        """At the mean speed so far."""
        return self.seconds / max(self.done, 1) * (self.total - self.done)


class Held(NamedTuple):
    """A slot of the memory, the frame that it holds, and a small picture of it."""

    slot: int
    frame: int
    picture: np.ndarray


@dataclass
class _Run:
    """The results of one choice of a memory.

    Attributes:
        slots, confidence: By frame.
        found: By frame: points that were given, and the masks that the model finds for them.
    """

    session: VOSSession
    folder: Path
    slots: dict[int, np.ndarray] = field(default_factory=dict)
    confidence: dict[int, dict[int, float]] = field(default_factory=dict)
    found: dict[int, tuple[GivenPrompts, GivenIds]] = field(default_factory=dict)


class Workspace:
    """A video of one user, with all that is known of it; its files are in a temporary folder.

    Methods may be called from several threads: while a run goes on, results are looked at. Edits end a run,
    what it found stays.

    Args:
        models: Those of all users.
        limits: Of uploads.
        parent: Where the temporary folder is made; None: in the system's.

    Attributes:
        video: None until one is opened.
        choice: The model and memory that :meth:`run` uses.
        labels: Names of the objects by id.
        files: Those that :meth:`write` wrote last.
        folder: Removed by :meth:`close`.
    """

    def __init__(self, models: Models, limits: Limits = DEFAULT_LIMITS, parent: str | Path | None = None):
        self.models, self.limits = models, limits
        self.folder = Path(tempfile.mkdtemp(prefix='mmstremn-app-', dir=parent))
        self.video: Video | None = None
        self.choice = Choice(models.default)
        self.labels: dict[int, str] = {}
        self.files: list[Path] = []
        self._runs: dict[Choice, _Run] = {}
        self._thumbnails: dict[int, np.ndarray] = {}
        self._own: dict[int, frozenset[int]] = {}  # by frame, see Marks
        self._lock, self._stop = RLock(), Event()
        self.cancel()

    def close(self) -> None:
        """End a run and remove all files."""
        self.cancel()
        with self._lock:
            self._close_video()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _close_video(self) -> None:
        for run in self._runs.values():
            run.session.close()
        self._runs.clear()
        self.labels.clear()
        self._own.clear()
        self._thumbnails.clear()
        self.video = None

    # The video.

    def open(self, path: str | Path) -> Video:
        """Take a copy of a video file, in the place of the video before.

        Raises:
            ValueError: It is no video file, damaged, or exceeds a limit. The video before stays.
        """
        path = Path(path)
        check_file(path, self.limits)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            copied = folder / path.name
            shutil.copyfile(path, copied)
            video = checked_video(copied, self.limits)
        except (ValueError, OSError) as error:
            shutil.rmtree(folder)
            raise ValueError(str(error).replace(f'{folder}/', '')) from error
        self.cancel()
        with self._lock:
            before = None if self.video is None else self.video.path.parent  # type: ignore[attr-defined]
            self._close_video()
            self.video = video
            if before is not None:
                shutil.rmtree(before)
            self.choose(self.choice)
        return video

    def _opened(self) -> Video:
        if self.video is None:
            raise ValueError('no video is open: drop one first')
        return self.video

    # Models and memories.

    def choose(self, choice: Choice) -> None:
        """Take another model or memory for the masks that are given. The results of earlier choices stay, so
        that they can be compared; those of the oldest go.

        Raises:
            ValueError: There is no such choice; the one before stays.
        """
        model = self.models.get(choice)
        self.cancel()
        with self._lock:
            if self.video is not None and choice not in self._runs:
                given = {frame: self._given_for(model, frame) for frame in self.keyframes}
                folder = Path(tempfile.mkdtemp(dir=self.video.path.parent))  # type: ignore[attr-defined]
                self._runs[choice] = _Run(VOSSession(model, self.video, given, folder=folder), folder)
            self.choice = choice
            self._drop_oldest_run()

    def _drop_oldest_run(self) -> None:
        while len(self._runs) > MOST_RUNS:
            oldest = next(choice for choice in self._runs if choice != self.choice)
            run = self._runs.pop(oldest)
            run.session.close()
            shutil.rmtree(run.folder)

    @property
    def choices(self) -> list[Choice]:
        """Those that have results."""
        return [choice for choice, run in self._runs.items() if run.confidence]

    @property
    def _run(self) -> _Run:
        self._opened()
        return self._runs[self.choice]

    @property
    def _session(self) -> VOSSession:
        return self._run.session

    # Objects and their masks.

    @property
    def keyframes(self) -> list[int]:
        """The frames with masks by the user, ascending."""
        run = self._runs.get(self.choice)
        return [] if run is None else run.session.keyframes

    def add_object(self, label: str = '') -> int:
        """A new object, which has no mask yet; its id.

        Raises:
            ValueError: There are as many as masks can hold, or no video.
        """
        self._opened()
        k = next((k for k in range(1, MAX_ID + 1) if k not in self.labels), None)
        if k is None:
            raise ValueError(f'expected at most {MAX_ID} objects')
        self.labels[k] = ''
        self.rename(k, label)
        return k

    def rename(self, k: int, label: str) -> None:
        """Name an object; without a name it is called by its id."""
        self._check_object(k)
        self.labels[k] = label.strip() or f'object {k}'

    def remove_object(self, k: int) -> None:
        """Remove an object and its masks from all frames."""
        self._check_object(k)
        self._edit(lambda session: session.remove(k) if k in session.object_ids else None)
        self._own = {frame: own - {k} for frame, own in self._own.items()}
        del self.labels[k]

    def mark(self, frame: int, k: int, mask: np.ndarray, mode: str = 'replace') -> None:
        """Say where an object is in a frame.

        Where the frame has results already this speaks of all objects, which changes the fewest other frames.

        Args:
            frame: Its number.
            k: Id of the object.
            mask: (H, W) bool. Nowhere: the object is not in this frame.
            mode: ``'replace'`` its mask, ``'add'`` to it, or ``'erase'`` from it.
        """
        self._check_object(k)
        with self._lock:
            ids = self.ids(frame)
            own = {'replace': mask, 'add': (ids == k) | mask, 'erase': (ids == k) & ~mask}[mode]
            ids = np.where(own, k, np.where(ids == k, 0, ids))
            others = self._others(frame, k)
            self._give(frame, self._marks(frame).with_masks(only(ids, [*others, k]), others))

    def mark_box(self, frame: int, k: int, box: tuple[int, int, int, int]) -> None:
        """Mark an object by a box around it (x, y of two corners): models that take boxes are given it in the
        place of a mask, others its mask, see :func:`mask_in_box`."""
        self._check_object(k)
        if not self.takes_points:
            self.mark(frame, k, mask_in_box(self._frame(frame), box))
            return
        with self._lock:
            points = self._marks(frame).points(k)
            self._prompt(frame, k, points, _inside(box, self._frame(frame)), None)

    def mark_point(self, frame: int, k: int, x: int, y: int, on: bool = True) -> None:
        """Add a point on an object, or beside it, to those of the frame. The first one begins to refine the
        mask of the object that is shown; where none is, points and a box alone say where it is.

        Raises:
            ValueError: The model takes no points; or there is nothing of the object from which the point
                could take away.
        """
        self._check_object(k)
        with self._lock:
            marks = self._marks(frame)
            points, box, base = marks.points(k), marks.box(k), marks.base(k, self.ids(frame))
            if not on and not points and box is None and base is None:
                raise ValueError('click on the object first: nothing of it is in this frame yet')
            self._prompt(frame, k, [*points, [x, y, int(on)]], box, base)

    def undo_point(self, frame: int, k: int) -> None:
        """Take back the point of an object in a frame that was added last; with the only one the correction,
        so that a frame without other marks is as it was before.

        Raises:
            ValueError: There is none.
        """
        self._check_object(k)
        with self._lock:
            marks = self._marks(frame)
            points, box = marks.points(k), marks.box(k)
            if not points:
                raise ValueError('the object has no point in this frame')
            if len(points) > 1 or box is not None:
                self._prompt(frame, k, points[:-1], box, marks.base(k, self.ids(frame)))
            else:
                self._give(frame, marks.without_prompts(k))

    def num_points(self, frame: int, k: int) -> int:
        """How many points an object has in a frame."""
        return len(self._marks(frame).points(k))

    @property
    def takes_points(self) -> bool:
        """Whether the model that is chosen takes points and boxes."""
        run = self._runs.get(self.choice)
        return takes_points(self.models.get(self.choice) if run is None else run.session.model)

    def _marks(self, frame: int) -> Marks:
        if frame not in self.keyframes:
            return Marks()
        return Marks(GivenPrompts.of(self._session.given(frame)), self._own.get(frame, frozenset()))

    def _prompt(self, frame: int, k: int, points: list, box: list | None, base: np.ndarray | None) -> None:
        ids, objects = self.ids(frame), self._others(frame, k)
        if base is not None:
            ids, objects = np.where(base, k, np.where(ids == k, 0, ids)), [*objects, k]
        self._give(frame, self._marks(frame).with_prompts(k, points, box, only(ids, objects)))

    def _others(self, frame: int, k: int) -> list[int]:
        """The further objects that a mark speaks of: where there are results, those without points; of a new
        object none."""
        if k not in self._session.object_ids or frame not in self._run.confidence:
            return []
        pointed = self._marks(frame).given.points
        return [other for other in self._session.object_ids if other != k and other not in pointed]

    def load_masks(self, frame: int, path: str | Path) -> list[int]:
        """Take the masks of a frame from a picture; the ids in it, which are new objects if not known.

        Raises:
            ValueError: It is no picture of masks, or of another size than the video.
        """
        try:
            ids = read_given(self._opened(), {frame: Path(path)})[frame]
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(f'{Path(path).parent}/', '')) from error
        objects = [k for k in np.unique(ids).tolist() if 0 < k <= MAX_ID]
        ids = np.where(ids > MAX_ID, 0, ids).astype(np.uint8)
        self._give(frame, self._marks(frame).with_masks(GivenIds(ids, objects)))
        for k in objects:
            self.labels.setdefault(k, f'object {k}')
        return objects

    def forget(self, frame: int) -> None:
        """Take back the masks that were given at a frame."""
        if frame in self.keyframes:
            self._edit(lambda session: session.forget(frame))

    def _check_object(self, k: int) -> None:
        self._opened()
        if k not in self.labels:
            raise ValueError(f'no object {k}: add one first')

    def _give(self, frame: int, marks: Marks) -> None:
        """Marks in the place of those of the frame."""
        self.cancel()
        with self._lock:
            if set(self._marks(frame).given.objects) - set(marks.given.objects):
                self.forget(frame)
            if marks.given.objects:
                self._session.correct(frame, marks.given)
                for run in self._runs.values():
                    if run is not self._run:
                        run.session.correct(frame, self._given_for(run.session.model, frame))
            self._own[frame] = marks.own

    def _edit(self, change: Callable[[VOSSession], None]) -> None:
        self.cancel()
        with self._lock:
            for run in self._runs.values():
                change(run.session)

    def _given_for(self, model: VOSegmentor, frame: int) -> GivenIds | GivenPrompts:
        """What is given at a frame in the form that a model takes: points only where it takes points."""
        return self._session.given(frame) if takes_points(model) else self._masks_of(self._run, frame)

    def _masks_of(self, run: _Run, frame: int) -> GivenIds:
        """The masks given at a frame; of points those that the model finds for them."""
        given = run.session.given(frame)
        if isinstance(given, GivenIds):
            return given
        if frame not in run.found or run.found[frame][0] is not given:
            stream = run.session.model.new_stream(run.session.seed)
            probabilities = stream.probabilities(self._frame(frame), given)
            ids = stream.ids_of(probabilities).cpu().numpy()
            run.found[frame] = given, GivenIds(ids, given.objects)
        return run.found[frame][1]

    # Runs.

    def run(self, every: float = 0.3) -> Iterator[Progress]:
        """Compute what is pending, until it is done or cancelled; what was found stays.

        Args:
            every: Seconds between two pictures.

        Raises:
            ValueError: No object has a mask.
        """
        if not self.keyframes:
            raise ValueError('no object is marked: mark one first')
        with self._task() as stop:
            run, total = self._run, self.pending
            while not self.models.turns.acquire(timeout=every or 0.1):
                if stop.is_set():
                    return
                yield Progress(0, total)
            try:
                yield from self._computed(run, total, stop, every)
            finally:
                self.models.turns.release()

    @contextmanager
    def _task(self) -> Iterator[Event]:
        """A run, or the writing of files, in the place of the one before; set when it is to end."""
        self.cancel()
        stop = self._stop = Event()
        try:
            yield stop
        finally:
            stop.set()

    @property
    def is_busy(self) -> bool:
        """Whether a run goes on, or files are written."""
        return not self._stop.is_set()

    def _computed(self, run: _Run, total: int, stop: Event, every: float) -> Iterator[Progress]:
        begin, shown, results = time.perf_counter(), 0.0, run.session.run()
        done = 0
        while (result := self._next(run, results, stop)) is not None:
            done += 1
            now = time.perf_counter()
            picture = None
            if now - shown >= every or done == total:
                picture, shown = fitted(overlay(result.frame, result.ids)), now
            yield Progress(done, total, now - begin, result.index, picture)

    def _next(self, run: _Run, results: Iterator[FrameResult], stop: Event) -> FrameResult | None:
        with self._lock:
            result = None if stop.is_set() else next(results, None)
            if result is not None:
                run.confidence[result.index] = result.confidence
                run.slots[result.index] = result.slots if result.slots is not None else np.empty(0, int)
        return result

    def cancel(self) -> None:
        """End a run, or the writing of files, before its next frame."""
        self._stop.set()

    @property
    def pending(self) -> int:
        """How many frames a run is to compute."""
        return 0 if self.video is None else len(self._session.pending())

    # What is shown.

    def _frame(self, index: int) -> np.ndarray:
        video = self._opened()
        if not 0 <= index < video.num_frames:
            raise ValueError(f'frame {index}: expected one of 0..{video.num_frames - 1}')
        return video.frame(index)

    def ids(self, index: int, choice: Choice | None = None) -> np.ndarray:
        """(H, W) ids of a frame as they are known: results, and over them what the user gave."""
        with self._lock:
            run = self._runs[choice or self.choice]
            return self._shown(run, run.session.result(index), index)

    def _shown(self, run: _Run, result: FrameResult, index: int) -> np.ndarray:
        ids = np.where(np.isin(result.ids, run.session.object_ids), result.ids, 0)
        if index in run.session.keyframes:
            given = self._masks_of(run, index)
            ids = np.where(np.isin(ids, given.objects), 0, ids)
            ids = np.where(np.isin(given.ids, given.objects), given.ids, ids)
        return ids.astype(np.uint8)

    def picture(self, index: int, choice: Choice | None = None) -> np.ndarray:
        """A frame with its masks, points and boxes, in the size in which it is shown."""
        picture = fitted(overlay(self._frame(index), self.ids(index, choice)))
        session = self._runs[choice or self.choice].session
        if index in session.keyframes:
            for rows in GivenPrompts.of(session.given(index)).points.values():
                draw_prompts(picture, rows / [*[scale_of(self._opened().size)] * 2, 1])
        return picture

    def in_video(self, place: Iterable[int]) -> tuple[int, ...]:
        """Coordinates in a picture as those in the video."""
        scale = scale_of(self._opened().size)
        return tuple(int(value * scale) for value in place)

    def timeline(self, choice: Choice | None = None) -> np.ndarray | None:
        """A picture of which frames the slots of the memory held; None for memories without slots, and before
        a run."""
        with self._lock:
            run = self._runs[choice or self.choice]
            slots = {t: held for t, held in run.slots.items() if len(held)}
            if not slots:
                return None
            rows = np.full((self._opened().num_frames, max(map(len, slots.values()))), -1)
            for t, held in slots.items():
                rows[t, : len(held)] = held
        return draw_slot_timeline(rows, f'Frames in the slots: {choice or self.choice}')

    def held(self, index: int) -> list[Held]:
        """The frames that the memory held after a frame was computed."""
        with self._lock:
            slots = self._run.slots.get(index, np.empty(0, int)).tolist()
            return [Held(slot, t, self._thumbnail(t)) for slot, t in enumerate(slots) if t >= 0]

    def _thumbnail(self, index: int) -> np.ndarray:
        if index not in self._thumbnails:
            frame = self._frame(index)
            width = max(1, round(frame.shape[1] * THUMBNAIL / frame.shape[0]))
            self._thumbnails[index] = cv2.resize(frame, (width, THUMBNAIL), interpolation=cv2.INTER_AREA)
        return self._thumbnails[index]

    def review(self, most: int = 5) -> list[tuple[float, int, int]]:
        """(confidence, frame, object) of the frames to look at first."""
        review, run = Review(), self._run
        for t, confidence in sorted(run.confidence.items()):
            confidence = _of_objects(confidence, run.session)
            review.add(FrameResult('', t, np.empty(0), np.empty(0), confidence))
        return review.frames(most)

    # Downloads.

    def write(self, names: Iterable[str]) -> Iterator[Progress]:
        """Write outputs (see :data:`~mmstremn.apis.OUTPUTS`) unless it is cancelled; then :attr:`files` has
        them, folders as zip archives.

        Raises:
            ValueError: An unknown name, or there are no results.
        """
        self.files, names = [], list(names)
        if not names:
            raise ValueError('nothing to write: choose at least one output')
        run = self._run
        if not run.confidence:
            raise ValueError('there are no results yet: run first')
        out, begin = run.folder / 'outputs', time.perf_counter()
        info, total = OutputInfo.of(run.session.video, dict(self.labels)), run.session.video.num_frames
        with suppress(_CancelledError), self._task() as stop:
            with open_outputs(out, names, info) as outputs:
                for result in self._final(run, stop):
                    outputs.add(result)
                    yield Progress(result.index + 1, total, time.perf_counter() - begin, result.index)
            paths = [out / FILES[name] for name in names]
            self.files = [_file_of(path) for path in paths if path.exists()]

    def _final(self, run: _Run, stop: Event) -> Iterator[FrameResult]:
        results = run.session.results()
        while True:
            with self._lock:
                if stop.is_set():
                    raise _CancelledError
                if (result := next(results, None)) is None:
                    return
                result.ids = self._shown(run, result, result.index)
                result.confidence = _of_objects(result.confidence, run.session)
            yield result


class _CancelledError(Exception):
    """Nothing is to be written."""


def _of_objects(confidence: dict[int, float], session: VOSSession) -> dict[int, float]:
    """The confidence of the objects that there still are."""
    return {k: value for k, value in confidence.items() if k in session.object_ids}


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    return Path(shutil.make_archive(str(path), 'zip', path.parent, path.name))


def _inside(box: tuple[int, int, int, int], frame: np.ndarray) -> list[int]:
    """A box with its corners in order, cut off at the borders of a frame."""
    (left, right), (top, bottom) = sorted(box[::2]), sorted(box[1::2])
    height, width = frame.shape[:2]
    return [max(left, 0), max(top, 0), min(right, width), min(bottom, height)]
