"""The data sets that ``mmstremn doctor --data`` checks: how each is opened, and its published size."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmstremn.datasets import (
    DAVISDataset,
    Human36MDataset,
    KTHDataset,
    MovingMNISTDataset,
    YouTubeVOSDataset,
)
from mmstremn.datasets.io.folders import list_files
from mmstremn.datasets.prediction.base import SPLITS
from mmstremn.datasets.prediction.sources import FrameSource
from mmstremn.datasets.vos.static_clips import load_photograph
from mmstremn.datasets.vos.static_layouts import ImagePair, find_pairs
from mmstremn.structures.video import Video

READ_ERRORS = (OSError, ValueError)


class Part(NamedTuple):
    """A sequence, a photograph or a clip.

    Attributes:
        frames, masks: How many it has.
        damage: Decodes all; gives what is wrong, a line each.
    """

    frames: int
    masks: int
    damage: Callable[[], Iterator[str]]


class DataKind(NamedTuple):
    """A data set by name.

    Attributes:
        open: Gives the parts of a split below a folder; reads names and headers.
        splits: Gives those that are in a folder.
        unit: What a part is called.
        published: How many parts a split has as its authors give it.
    """

    open: Callable[[Path, str], list[Part]]
    splits: Callable[[Path], Sequence[str]]
    unit: str = 'sequences'
    published: dict[str, tuple[int, ...]] = {}


def _part_of_video(video: Video) -> Part:
    def damage() -> Iterator[str]:
        for read, indices in ((video.frame, range(video.num_frames)), (video.mask, video.annotated)):
            for index in indices:
                yield from _attempt(read, index)

    return Part(video.num_frames, len(video.annotated), damage)


def _part_of_source(source: FrameSource) -> Part:
    numbers = source.numbers.tolist()
    return Part(len(numbers), 0, partial(_attempt, lambda: list(map(len, source.read(numbers)))))


def _part_of_pair(pair: ImagePair) -> Part:
    return Part(1, 1, partial(_attempt, load_photograph, pair))


def _attempt(read: Callable, *given: Any) -> Iterator[str]:
    try:
        read(*given)
    except READ_ERRORS as error:
        yield str(error)


def _davis(year: int) -> Callable[[Path, str], list[Part]]:
    def parts(root: Path, split: str) -> list[Part]:
        return _videos(DAVISDataset(str(root), year, split))

    return parts


def _without_lists(root: Path, split: str) -> list[Part]:
    """The layout of MOSE, LVOS and Long-time Video: <split>/JPEGImages/<video>."""
    folder = root / split if split != 'all' else root
    return _videos(DAVISDataset(str(folder), split=None, resolution='', consecutive=False))


def _youtube_vos(root: Path, split: str) -> list[Part]:
    return _videos(YouTubeVOSDataset(str(root), split))


def _videos(dataset: DAVISDataset | YouTubeVOSDataset) -> list[Part]:
    return [_part_of_video(dataset.get_data_info(index)['video']) for index in range(len(dataset))]


def _pairs(*layouts: str) -> Callable[[Path, str], list[Part]]:
    def parts(root: Path, split: str) -> list[Part]:
        layout = 'list' if 'list' in layouts and (root / 'list.txt').is_file() else layouts[0]
        return [_part_of_pair(pair) for pair in find_pairs(root, layout)]

    return parts


def _kth(root: Path, split: str) -> list[Part]:
    return [_part_of_source(source) for source in KTHDataset(str(root), split).clips.sources]


def _human36m(root: Path, split: str) -> list[Part]:
    return [_part_of_source(source) for source in Human36MDataset(str(root), split).clips.sources]


def _moving_mnist(root: Path, split: str) -> list[Part]:
    """The clips of 'train' are drawn from digits that are read here; there is nothing to decode."""
    dataset = MovingMNISTDataset(str(root), split)
    read = dataset.clips.read if split == 'test' else lambda *_: None
    return [
        Part(dataset.num_frames, 0, partial(_attempt, read, place, 0)) for place in range(len(dataset.clips))
    ]


def _lists(year: int) -> Callable[[Path], list[str]]:
    """The lists of DAVIS that there are; 'train' where there is none, to say what is missing."""

    def splits(root: Path) -> list[str]:
        folder = root / 'ImageSets' / str(year)
        return [path.stem for path in list_files(folder, ('.txt',))] if folder.is_dir() else ['train']

    return splits


def _folders(*names: str) -> Callable[[Path], list[str]]:
    def splits(root: Path) -> list[str]:
        return [name for name in names if (root / name).is_dir()] or [names[0]]

    return splits


def _always(*names: str) -> Callable[[Path], Sequence[str]]:
    return lambda root: names


DATA_KINDS = {
    'DAVIS': DataKind(_davis(2017), _lists(2017), published={'train': (60,), 'val': (30,)}),
    'DAVIS2016': DataKind(_davis(2016), _lists(2016), published={'train': (30,), 'val': (20,)}),
    'YouTubeVOS': DataKind(
        _youtube_vos,
        _folders('train', 'valid', 'test'),
        published={'train': (3471,), 'valid': (474, 507), 'test': (508, 541)},
    ),
    'MOSE': DataKind(
        _without_lists, _folders('train', 'valid'), published={'train': (1507,), 'valid': (311,)}
    ),
    'LVOS': DataKind(
        _without_lists,
        _folders('train', 'valid', 'test'),
        published={'train': (120, 420), 'valid': (50, 140), 'test': (50, 160)},
    ),
    'LongTimeVideo': DataKind(_without_lists, _always('all'), published={'all': (3,)}),
    'FSS1000': DataKind(_pairs('fss1000'), _always('all'), 'photographs', {'all': (10000,)}),
    'DUTS': DataKind(_pairs('duts'), _always('all'), 'photographs', {'all': (10553,)}),
    'ECSSD': DataKind(_pairs('ecssd'), _always('all'), 'photographs', {'all': (1000,)}),
    'Photographs': DataKind(_pairs('plain', 'list'), _always('all'), 'photographs'),
    'KTH': DataKind(_kth, _always(*SPLITS), 'videos'),
    'Human36M': DataKind(_human36m, _always(*SPLITS), 'videos'),
    'MovingMNIST': DataKind(_moving_mnist, _always('test', 'train'), 'clips', {'test': (10000,)}),
}
