"""Masks as run lengths in COCO's and YouTube-VIS's JSON, written frame by frame."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmstremn.utils.atomic import written_aside


def encode_run_lengths(mask: np.ndarray) -> dict:
    """A mask (H, W) bool as COCO's compressed run lengths, ``size`` and ``counts``.

    Raises:
        ImportError: pycocotools is missing; the message says how to install it.
    """
    coded = mask_api().encode(np.asfortranarray(mask, np.uint8))
    return dict(size=[int(side) for side in coded['size']], counts=coded['counts'].decode())


def mask_api():
    """pycocotools' module ``mask``.

    Raises:
        ImportError: It is missing; the message says how to install it.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError("run lengths need pycocotools: pip install 'mmstremn[conversion]'") from error
    return mask


def box_of(mask: np.ndarray) -> list[int]:
    """[x, y, width, height] in pixels; zeros where nothing is."""
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]


class JsonLines:
    """Items of a list in JSON that wait in a temporary file, so that memory does not grow with them."""

    def __init__(self):
        self._file = tempfile.TemporaryFile('w+', encoding='utf-8')  # noqa: SIM115
        self.length = 0

    def add(self, item: object) -> None:
        """Append an item."""
        self._file.write((',\n' if self.length else '') + json.dumps(item))
        self.length += 1

    def text(self) -> Iterator[str]:
        """The list as JSON, in pieces."""
        self._file.seek(0)
        yield '['
        yield from self._file
        yield ']'


class CocoWriter:
    """COCO's JSON with an image for each frame; ``track_id`` is the object's id.

    Args:
        path: The file.
        video: Name; images are called ``<video>/<frame>``.
        files: File name of each frame.
        labels: Names of objects, which become the categories; others are of the category ``object``.
    """

    def __init__(self, path: str | Path, video: str, files: Sequence[str], labels: Mapping[int, str]):
        mask_api()
        self._path, self._video, self._files, self._labels = Path(path), video, files, labels
        self._categories = _category_ids(labels)
        self._images, self._annotations = JsonLines(), JsonLines()

    def add(self, index: int, ids: np.ndarray, confidence: Mapping[int, float]) -> None:
        """Add the masks of a frame."""
        height, width = ids.shape
        name = f'{self._video}/{self._files[index]}'
        self._images.add(dict(id=index + 1, file_name=name, height=height, width=width, frame_id=index))
        for k in _objects(ids):
            mask = ids == k
            self._annotations.add(
                dict(
                    id=self._annotations.length + 1,
                    image_id=index + 1,
                    category_id=self._categories[self._labels.get(k, 'object')],
                    track_id=k,
                    segmentation=encode_run_lengths(mask),
                    area=int(mask.sum()),
                    bbox=box_of(mask),
                    iscrowd=0,
                    score=confidence.get(k, 1.0),
                )
            )

    def finish(self) -> None:
        """Write the file."""
        lists = dict(images=self._images, annotations=self._annotations)
        _write(self._path, _category_entries(self._categories), lists)


class YouTubeVISWriter:
    """YouTube-VIS's JSON: one video, one annotation an object with its masks of all frames.

    Args:
        path, video, files, labels: As of :class:`CocoWriter`.
    """

    def __init__(self, path: str | Path, video: str, files: Sequence[str], labels: Mapping[int, str]):
        mask_api()
        self._path, self._video, self._files, self._labels = Path(path), video, files, labels
        self._categories = _category_ids(labels)
        self._objects: dict[int, _Track] = {}
        self._size, self._length = (0, 0), 0

    def add(self, index: int, ids: np.ndarray, confidence: Mapping[int, float]) -> None:
        """Add the masks of the next frame."""
        self._size = ids.shape
        for k in _objects(ids):
            self._objects.setdefault(k, _Track(self._length))
        for k, track in self._objects.items():
            track.add(ids == k, confidence.get(k, 1.0))
        self._length += 1

    def finish(self) -> None:
        """Write the file."""
        height, width = self._size
        names = [f'{self._video}/{file}' for file in self._files[: self._length]]
        video = dict(id=1, height=height, width=width, length=self._length, file_names=names)
        annotations = [
            track.entry(k, self._categories[self._labels.get(k, 'object')], (height, width))
            for k, track in sorted(self._objects.items())
        ]
        lists = dict(annotations=annotations)
        _write(self._path, dict(videos=[video]) | _category_entries(self._categories), lists)


class _Track:
    """The masks of an object, from the first frame on."""

    def __init__(self, missing: int):
        self._lists = dict(segmentations=JsonLines(), areas=JsonLines(), bboxes=JsonLines())
        self._scores: list[float] = []
        for _ in range(missing):
            self._add(None, None, None)

    def _add(self, segmentation: dict | None, area: int | None, box: list[int] | None) -> None:
        for items, item in zip(self._lists.values(), (segmentation, area, box), strict=True):
            items.add(item)

    def add(self, mask: np.ndarray, score: float) -> None:
        if not mask.any():
            return self._add(None, None, None)
        self._scores.append(score)
        return self._add(encode_run_lengths(mask), int(mask.sum()), box_of(mask))

    def entry(self, k: int, category: int, size: tuple[int, int]) -> Iterator[str]:
        """The annotation as JSON, in pieces."""
        score = sum(self._scores) / max(1, len(self._scores))
        plain = dict(id=k, video_id=1, category_id=category, iscrowd=0, height=size[0], width=size[1])
        yield json.dumps(plain | dict(score=round(score, 4)))[:-1]
        for name, items in self._lists.items():
            yield f', "{name}": '
            yield from items.text()
        yield '}'


def _objects(ids: np.ndarray) -> list[int]:
    return np.unique(ids[(ids > 0) & (ids < 255)]).tolist()


def _category_ids(labels: Mapping[int, str]) -> dict[str, int]:
    names = sorted({'object', *labels.values()}, key=lambda name: (name != 'object', name))
    return {name: number for number, name in enumerate(names, 1)}


def _category_entries(categories: Mapping[str, int]) -> dict:
    return dict(categories=[dict(id=number, name=name) for name, number in categories.items()])


def _write(path: Path, plain: dict, lists: Mapping[str, JsonLines | list[Iterator[str]]]) -> None:
    with written_aside(path) as partial, open(partial, 'w', encoding='utf-8') as file:
        file.write(json.dumps(plain)[:-1])
        for name, items in lists.items():
            file.write(f',\n"{name}": ')
            file.writelines(items.text() if isinstance(items, JsonLines) else _list(items))
        file.write('}\n')


def _list(items: list[Iterator[str]]) -> Iterator[str]:
    yield '['
    for place, item in enumerate(items):
        yield ',\n' if place else ''
        yield from item
    yield ']'
