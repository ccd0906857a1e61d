"""What one user does: a video, its objects, runs, corrections and downloads. Knows nothing of the page."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, RLock
from typing import NamedTuple

import cv2
import numpy as np

from mmstremn.apis import FrameResult, OutputInfo, VOSSession, write_outputs
from mmstremn.apis.outputs import FILES, Review
from mmstremn.apis.vos_inferencer import read_given
from mmstremn.app.choices import Choice, Models
from mmstremn.app.grabcut import mask_in_box
from mmstremn.datasets.io.folders import VIDEOS, is_video
from mmstremn.datasets.io.frame_sources import open_source
from mmstremn.datasets.io.video_index import open_container
from mmstremn.structures import GivenIds, Video
from mmstremn.structures.masks import MAX_ID
from mmstremn.visualization import draw_slot_timeline, overlay

LONGEST_SIDE = 1280  # pixels of pictures that are shown
THUMBNAIL = 90  # rows
PLAYLISTS = ('hls', 'concat', 'dash', 'mpegts_raw', 'applehttp', 'imf')  # files that name other files
MOST_RUNS = 3  # choices of a memory whose results are kept


class Limits(NamedTuple):
    """What a user may upload."""

    megabytes: int = 500
    frames: int = 20_000
    megapixels: float = 9.0


DEFAULT_LIMITS = Limits()


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        done, total: Frames.
        seconds: Since it began.
        index: Of the frame that was computed last.
        picture: That frame with its masks; None where it is not shown.
    """

    done: int
    total: int
    seconds: float
    index: int
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
    """The results of one choice of a memory."""

    session: VOSSession
    folder: Path
    slots: dict[int, np.ndarray] = field(default_factory=dict)
    confidence: dict[int, dict[int, float]] = field(default_factory=dict)


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
        folder: Removed by :meth:`close`.
    """

    def __init__(self, models: Models, limits: Limits = DEFAULT_LIMITS, parent: str | Path | None = None):
        self.models, self.limits = models, limits
        self.folder = Path(tempfile.mkdtemp(prefix='mmstremn-app-', dir=parent))
        self.video: Video | None = None
        self.choice = Choice(models.default)
        self.labels: dict[int, str] = {}
        self._runs: dict[Choice, _Run] = {}
        self._thumbnails: dict[int, np.ndarray] = {}
        self._lock, self._stop = RLock(), Event()

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
        self._thumbnails.clear()
        self.video = None

    # The video.

    def open(self, path: str | Path) -> Video:
        """Take a copy of a video file, in the place of the video before.

        Raises:
            ValueError: It is no video file, damaged, or exceeds a limit. The video before stays.
        """
        path = Path(path)
        self._check_file(path)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            copied = folder / path.name
            shutil.copyfile(path, copied)
            video = self._checked(copied)
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

    def _check_file(self, path: Path) -> None:
        if not is_video(path):
            raise ValueError(f'{path.name}: expected a video file ({", ".join(VIDEOS)})')
        size = path.stat().st_size / 1e6
        if size > self.limits.megabytes:
            raise ValueError(f'{path.name}: {size:.0f} MB, expected at most {self.limits.megabytes} MB')

    def _checked(self, path: Path) -> Video:
        video = open_source(path, check=False)
        with open_container(path) as (container, _):
            if set(container.format.name.split(',')) & set(PLAYLISTS):
                raise ValueError(f'{path}: expected a video file, it is a list of other files')
        pixels = video.size[0] * video.size[1] / 1e6
        if pixels > self.limits.megapixels:
            raise ValueError(
                f'{path}: {video.size[1]} x {video.size[0]} pixels, expected at most '
                f'{self.limits.megapixels:g} million'
            )
        if video.num_frames > self.limits.frames:
            raise ValueError(
                f'{path}: {video.num_frames} frames, expected at most {self.limits.frames}; cut the video'
            )
        return open_source(path)  # decodes it once, to find damage before work is lost

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
                given = {frame: self._session.given(frame) for frame in self.keyframes}
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
        self.labels[k] = label.strip() or f'object {k}'
        return k

    def remove_object(self, k: int) -> None:
        """Remove an object and its masks from all frames."""
        self._check_object(k)
        self._edit(lambda session: session.remove(k) if k in session.object_ids else None)
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
            ids, known = self.ids(frame), self._session.object_ids
            own = {'replace': mask, 'add': (ids == k) | mask, 'erase': (ids == k) & ~mask}[mode]
            ids = np.where(ids == k, 0, ids)
            ids = np.where(own, k, ids).astype(np.uint8)
            objects = sorted(known) if k in known and frame in self._run.confidence else [k]
            ids[~np.isin(ids, objects)] = 0
            given = GivenIds(ids, objects)
            self._edit(lambda session: session.correct(frame, given))

    def mark_box(self, frame: int, k: int, box: tuple[int, int, int, int]) -> None:
        """Mark an object by a box around it (x, y of two corners), see :func:`mask_in_box`."""
        self.mark(frame, k, mask_in_box(self._frame(frame), box))

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
        self._edit(lambda session: session.correct(frame, GivenIds(ids, objects)))
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

    def _edit(self, change: Callable[[VOSSession], None]) -> None:
        self.cancel()
        with self._lock:
            for run in self._runs.values():
                change(run.session)

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
        self.cancel()
        stop = self._stop = Event()
        run, begin, shown = self._run, time.perf_counter(), 0.0
        with self._lock:
            total, results = len(run.session.pending()), run.session.run()
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
        """End a run before its next frame."""
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
            given = run.session.given(index)
            ids = np.where(np.isin(ids, given.objects), 0, ids)
            ids = np.where(np.isin(given.ids, given.objects), given.ids, ids)
        return ids.astype(np.uint8)

    def picture(self, index: int, choice: Choice | None = None) -> np.ndarray:
        """A frame with its masks, at most LONGEST_SIDE pixels wide and high."""
        return fitted(overlay(self._frame(index), self.ids(index, choice)))

    def box_in_video(self, box: Iterable[int]) -> tuple[int, ...]:
        """Corners in a picture as corners in the video."""
        height, width = self._opened().size
        scale = max(1.0, max(height, width) / LONGEST_SIDE)
        return tuple(round(value * scale) for value in box)

    def timeline(self) -> np.ndarray | None:
        """A picture of which frames the slots of the memory held; None for memories without slots, and before
        a run."""
        with self._lock:
            slots = {t: held for t, held in self._run.slots.items() if len(held)}
            if not slots:
                return None
            rows = np.full((self._opened().num_frames, max(map(len, slots.values()))), -1)
            for t, held in slots.items():
                rows[t, : len(held)] = held
        return draw_slot_timeline(rows)

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

    def write(self, names: Iterable[str]) -> list[Path]:
        """Write outputs (see :data:`~mmstremn.apis.OUTPUTS`); their files, folders as zip archives.

        Raises:
            ValueError: An unknown name, or there are no results.
        """
        names = list(names)
        if not names:
            raise ValueError('nothing to write: choose at least one output')
        run = self._run
        if not run.confidence:
            raise ValueError('there are no results yet: run first')
        self.cancel()
        out = run.folder / 'outputs'
        with self._lock:
            info = OutputInfo.of(run.session.video, self.labels)
            write_outputs(self._final(run), out, info, names)
        paths = [out / FILES[name] for name in names]
        return [_file_of(path) for path in paths if path.exists()]

    def _final(self, run: _Run) -> Iterator[FrameResult]:
        for result in run.session.results():
            result.ids = self._shown(run, result, result.index)
            result.confidence = _of_objects(result.confidence, run.session)
            yield result


def _of_objects(confidence: dict[int, float], session: VOSSession) -> dict[int, float]:
    """The confidence of the objects that there still are."""
    return {k: value for k, value in confidence.items() if k in session.object_ids}


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    return Path(shutil.make_archive(str(path), 'zip', path.parent, path.name))


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture whose longest side is at most LONGEST_SIDE."""
    height, width = picture.shape[:2]
    scale = max(height, width) / LONGEST_SIDE
    if scale <= 1:
        return picture
    size = max(1, round(width / scale)), max(1, round(height / scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
