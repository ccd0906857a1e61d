"""What is written of a video's masks: pictures, videos, annotation files, tables."""

import csv
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from mmstremn.apis.results import FrameResult
from mmstremn.datasets.conversion.coco_writer import CocoWriter, YouTubeVISWriter, box_of
from mmstremn.datasets.conversion.labelme_writer import labelme_file
from mmstremn.datasets.io.frame_sources import (
    LiveVideo,
    check_no_frames,
    frame_folders,
    frame_names,
    source_rate,
)
from mmstremn.structures.video import Video
from mmstremn.utils.atomic import folder_written_aside, written_aside
from mmstremn.utils.palette import encode_palette_png
from mmstremn.visualization import draw_slot_timeline, overlay, video_writer

MOST_LISTED = 20  # frames of review.csv
APART = 10  # frames between two of them


@dataclass
class OutputInfo:
    """What writers need to know of a video.

    Attributes:
        video: Name.
        names: Of the frames, without suffix.
        fps: Frames a second.
        labels: Names of objects by id.
        folders: Of the frames, which no output replaces.
        seconds: The time of each frame; None: by ``fps``.
    """

    video: str
    names: Sequence[str]
    fps: Fraction = Fraction(15)
    labels: Mapping[int, str] = field(default_factory=dict)
    folders: Iterable[Path] = ()
    seconds: Sequence[float] | None = None

    @classmethod
    def of(
        cls, video: Video | LiveVideo, labels: Mapping[int, str] | None = None, fps: Fraction | None = None
    ) -> 'OutputInfo':
        """Those of a video."""
        names = _Numbers() if isinstance(video, LiveVideo) else frame_names(video)
        seconds = getattr(video, 'seconds', None) if fps is None else None
        return cls(video.name, names, fps or source_rate(video), labels or {}, frame_folders(video), seconds)


class _Numbers(Sequence):
    """The names of frames whose number is not known."""

    def __getitem__(self, index):
        return f'{index:05d}'

    def __len__(self):
        return 10**9


class Output(Protocol):
    """Takes results in the order of their frames."""

    def add(self, result: FrameResult) -> None:
        """Write a frame."""


@contextmanager
def masks(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``masks/<frame>.png``: palette PNGs of the ids."""
    with folder_written_aside(folder / 'masks') as partial:
        yield _Masks(partial, info)


@dataclass
class _Masks:
    folder: Path
    info: OutputInfo

    def add(self, result: FrameResult) -> None:
        (self.folder / f'{self.info.names[result.index]}.png').write_bytes(encode_palette_png(result.ids))


@contextmanager
def overlay_video(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``overlay.mp4``: the masks over the frames, at the rate of the video (H.264, yuv420p)."""
    with video_writer(folder / 'overlay.mp4', info.fps) as writer:
        yield _Pictures(writer, _over_frame)


def _over_frame(result: FrameResult) -> np.ndarray:
    picture = result.visualization
    return overlay(result.frame, result.ids) if picture is None else picture


@dataclass
class _Pictures:
    """Writes one picture of each result to a video."""

    writer: object
    picture_of: Callable[[FrameResult], np.ndarray]

    def add(self, result: FrameResult) -> None:
        self.writer.add(self.picture_of(result))  # type: ignore[attr-defined]


@contextmanager
def cutout_video(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``cutout.webm``: the objects on a transparent ground (VP9 with alpha)."""
    with video_writer(folder / 'cutout.webm', info.fps, transparent=True) as writer:
        yield _Pictures(writer, lambda result: cut_out(result.frame, result.ids))


@contextmanager
def cutout_pictures(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``cutouts/<object>/<frame>.png``: each object on a transparent ground (RGBA), where it is seen."""
    with folder_written_aside(folder / 'cutouts') as partial:
        yield _CutoutPictures(partial, info)


@dataclass
class _CutoutPictures:
    folder: Path
    info: OutputInfo

    def add(self, result: FrameResult) -> None:
        for k in np.unique(result.ids[(result.ids > 0) & (result.ids < 255)]).tolist():
            path = self.folder / str(k) / f'{self.info.names[result.index]}.png'
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(cut_out(result.frame, result.ids, k)).save(path)


def cut_out(frame: np.ndarray, ids: np.ndarray, k: int | None = None) -> np.ndarray:
    """(H, W, 4) RGBA: the pixels of object ``k``, or of all objects, all else transparent black."""
    inside = ((ids > 0) & (ids < 255) if k is None else ids == k)[..., None]
    return np.concatenate([frame * inside, inside * np.uint8(255)], -1).astype(np.uint8)


@contextmanager
def coco(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``coco.json``: COCO's run lengths, with ``track_id`` and ``score``."""
    writer = CocoWriter(folder / 'coco.json', info.video, _Files(info.names), info.labels)
    yield _Annotations(writer)
    writer.finish()


@contextmanager
def youtube_vis(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``youtube_vis.json``: an annotation an object, with its run lengths of all frames."""
    writer = YouTubeVISWriter(folder / 'youtube_vis.json', info.video, _Files(info.names), info.labels)
    yield _Annotations(writer)
    writer.finish()


@dataclass
class _Files(Sequence):
    """The file names of frames as annotation files give them."""

    names: Sequence[str]

    def __getitem__(self, index):
        found = self.names[index]
        return [f'{name}.jpg' for name in found] if isinstance(index, slice) else f'{found}.jpg'

    def __len__(self):
        return len(self.names)


@dataclass
class _Annotations:
    writer: CocoWriter | YouTubeVISWriter

    def add(self, result: FrameResult) -> None:
        self.writer.add(result.index, result.ids, result.confidence)


@contextmanager
def labelme(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``labelme/<frame>.jpg`` and ``.json``: frames with polygons that Labelme and X-AnyLabeling open."""
    with folder_written_aside(folder / 'labelme') as partial:
        yield _Labelme(partial, info)


@dataclass
class _Labelme:
    folder: Path
    info: OutputInfo

    def add(self, result: FrameResult) -> None:
        name = self.info.names[result.index]
        Image.fromarray(result.frame).save(self.folder / f'{name}.jpg', quality=95)
        content = labelme_file(result.ids, f'{name}.jpg', self.info.labels)
        (self.folder / f'{name}.json').write_text(json.dumps(content, indent=2), 'utf-8')


@contextmanager
def table(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``objects.csv``: area, box and confidence of each object in each frame."""
    with (
        written_aside(folder / 'objects.csv') as partial,
        open(partial, 'w', newline='', encoding='utf-8') as file,
    ):
        writer = csv.writer(file)
        head = ('frame', 'name', 'seconds', 'object', 'label', 'area', 'x', 'y', 'width', 'height')
        writer.writerow((*head, 'confidence'))
        yield _Table(writer, info)


@dataclass
class _Table:
    writer: object
    info: OutputInfo

    def add(self, result: FrameResult) -> None:
        times = self.info.seconds
        seconds = round(float(result.index / self.info.fps) if times is None else times[result.index], 3)
        name = self.info.names[result.index]
        for k, confidence in result.confidence.items():
            mask = result.ids == k
            place = (result.index, name, seconds, k, self.info.labels.get(k, ''))
            self.writer.writerow((*place, int(mask.sum()), *box_of(mask), confidence))  # type: ignore


@contextmanager
def review(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``review.csv``: the frames to look at first, those of which the model is least sure."""
    output = Review()
    yield output
    with (
        written_aside(folder / 'review.csv') as partial,
        open(partial, 'w', newline='', encoding='utf-8') as file,
    ):
        writer = csv.writer(file)
        writer.writerow(('frame', 'name', 'object', 'confidence'))
        for confidence, frame, k in output.frames():
            writer.writerow((frame, info.names[frame], k, confidence))


class Review:
    """Finds the frames of which the model is least sure; a few of each stretch of APART frames are held."""

    def __init__(self) -> None:
        self._worst: list[tuple[float, int, int]] = []

    def add(self, result: FrameResult) -> None:
        """Consider a frame."""
        if not result.confidence:
            return
        k = min(result.confidence, key=lambda k: result.confidence[k])
        heapq.heappush(self._worst, (-result.confidence[k], -result.index, k))
        if len(self._worst) > 2 * MOST_LISTED * APART:
            heapq.heappop(self._worst)

    def frames(self, most: int = MOST_LISTED) -> list[tuple[float, int, int]]:
        """(confidence, frame, object), the least sure first, no two within ``APART`` frames."""
        found: list[tuple[float, int, int]] = []
        for confidence, frame, k in sorted((-c, -f, k) for c, f, k in self._worst):
            if len(found) < most and all(abs(frame - other) >= APART for _, other, _ in found):
                found.append((confidence, frame, k))
        return found


@contextmanager
def slots(folder: Path, info: OutputInfo) -> Iterator[Output]:
    """``slots.png``: which frames the memory's slots held, of memories that have slots."""
    output = _Slots()
    yield output
    (folder / 'slots.png').unlink(missing_ok=True)
    if any(held is not None for held in output.held):
        width = max(len(held) for held in output.held if held is not None)
        rows = [np.full(width, -1) if held is None else held for held in output.held]
        picture = draw_slot_timeline(np.stack(rows), f'Which frames the slots held ({info.video})')
        with written_aside(folder / 'slots.png') as partial:
            Image.fromarray(picture).save(partial, 'png')


@dataclass
class _Slots:
    held: list[np.ndarray | None] = field(default_factory=list)

    def add(self, result: FrameResult) -> None:
        self.held.append(result.slots)


OUTPUTS = {
    'masks': masks,
    'overlay': overlay_video,
    'cutout': cutout_video,
    'cutout-png': cutout_pictures,
    'coco': coco,
    'youtube-vis': youtube_vis,
    'labelme': labelme,
    'csv': table,
    'review': review,
    'slots': slots,
}
FILES = {
    'masks': 'masks',
    'overlay': 'overlay.mp4',
    'cutout': 'cutout.webm',
    'cutout-png': 'cutouts',
    'coco': 'coco.json',
    'youtube-vis': 'youtube_vis.json',
    'labelme': 'labelme',
    'csv': 'objects.csv',
    'review': 'review.csv',
    'slots': 'slots.png',
}
DEFAULT_OUTPUTS = ('masks', 'overlay', 'csv', 'review', 'slots')


@contextmanager
def open_outputs(folder: str | Path, names: Iterable[str], info: OutputInfo) -> Iterator['Outputs']:
    """Writers of several outputs; each appears in ``folder`` when the block ends, none where it raises.

    Args:
        folder: Made if it does not exist.
        names: Of :data:`OUTPUTS`.
        info: Of the video.

    Raises:
        ValueError: An unknown name; an output would replace the frames of the video, or a folder stands where
            a file is to be written, or the other way round.
        ImportError: A package is missing that an output needs.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in OUTPUTS:
            raise ValueError(f"output '{name}': expected one of {', '.join(OUTPUTS)}")
        _check_place(Path(folder) / FILES[name], info)
    with ExitStack() as stack:
        yield Outputs({name: stack.enter_context(OUTPUTS[name](Path(folder), info)) for name in names})


def _check_place(path: Path, info: OutputInfo) -> None:
    if path.suffix and path.is_dir():
        raise ValueError(
            f'{path} is a folder, expected a file or nothing: take another folder for the results'
        )
    if not path.suffix and path.exists() and not path.is_dir():
        raise ValueError(f'{path} is no folder: take another folder for the results')
    check_no_frames(path, info.folders)


class Outputs:
    """Several writers as one.

    Attributes:
        writers: By name.
    """

    def __init__(self, writers: Mapping[str, Output]):
        self.writers = dict(writers)

    def add(self, result: FrameResult) -> None:
        """Write a frame."""
        for writer in self.writers.values():
            writer.add(result)


def write_outputs(
    results: Iterable[FrameResult],
    folder: str | Path,
    info: OutputInfo,
    names: Iterable[str] = DEFAULT_OUTPUTS,
) -> None:
    """Write the outputs of a video whose results come in the order of its frames, see
    :func:`open_outputs`."""
    with open_outputs(folder, names, info) as outputs:
        for result in results:
            outputs.add(result)
