"""KTH actions: Schuldt, Laptev and Caputo, "Recognizing Human Actions: A Local SVM Approach", ICPR 2004."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.folders import VIDEOS, is_picture, list_files, walk
from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import ClipFormat, Clips
from mmstremn.datasets.prediction.kth_sequences import VIDEO, read_sequence_list
from mmstremn.datasets.prediction.sources import (
    FrameSource,
    VideoFrames,
    check_pictures,
    picture_folder,
)
from mmstremn.datasets.prediction.windows import drop_short, make_windows
from mmstremn.registry import DATASETS

PERSONS = {'train': tuple(range(1, 15)), 'dev': (15, 16), 'test': tuple(range(17, 26))}
FAST_STRIDES = {'jogging': 3, 'running': 3}


@DATASETS.register_module()
class KTHDataset(PredictionDataset):
    """Six actions of 25 people, 160 x 120 pixels, as grey frames that are resized by area, without cropping,
    to 64 or 128.

    Persons 1-16 are for training and 17-25 for testing, as everywhere in video prediction; of the first, 15
    and 16 are 'dev' and are not trained on. Frames are those of the sequences in the official list, where
    sequences that follow each other without a gap make one. Fixed clips lie one after the other, and 3 frames
    apart where people jog and run, like PredRNN's and OpenSTL's (thuml/predrnn-pytorch
    core/data_provider/kth_action.py; with its list and 10 -> 20 frames the test persons give 5,045 clips, a
    user of theirs counts 5,041). Sequences without room for a clip are left out.

    Args:
        data_root: Holds the videos at any depth, as ``person01_boxing_d1_uncomp.avi`` (or another format), or
            folders of that name with a picture a frame, numbered by their names.
        split: 'train', 'dev' or 'test'.
        ann_file: The official list, in ``data_root``; '' takes whole videos.
        persons: Take these persons instead of the split's.
        **kwargs: See ``PredictionDataset``.

    Raises:
        FileNotFoundError: The folder or the list is missing, or there are no videos of the split's persons.
        ValueError: A video is damaged, or the list does not fit the videos; the message names the file.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        ann_file: str = '00sequences.txt',
        persons: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        self.persons = persons
        super().__init__(data_root=str(data_root), split=split, ann_file=ann_file, **kwargs)

    def load_clips(self) -> Clips:
        """Windows of the sequences of the split's persons."""
        persons = PERSONS[self.split] if self.persons is None else tuple(self.persons)
        paths = find_kth_videos(Path(self.data_root), persons)
        sequences = read_sequence_list(self.ann_file) if self.ann_file else None
        sources = read_each(lambda name: _open(paths[name], name), paths)
        check_pictures(sources)
        if sequences is not None:
            sources = [_cut(source, sequences, self.ann_file) for source in sources]
        clip_format = ClipFormat(self.num_frames, self.size)
        sources = drop_short(sources, clip_format)
        strides = [FAST_STRIDES.get(source.name.split('_')[1], self.num_frames) for source in sources]
        return make_windows(sources, clip_format, random=self.split == 'train', strides=strides)


def find_kth_videos(root: Path, persons: Sequence[int]) -> dict[str, Path]:
    """The video file or folder of pictures of each video of some persons, by names such as
    'person01_boxing_d1'.

    Raises:
        FileNotFoundError: There is no such folder, or no video of these persons. A warning says of whom there
            is none.
        ValueError: There are two of the same name.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected the videos of KTH')
    found = {}
    for path in _candidates(root):
        video = VIDEO.match(path.name)
        if video is None or int(video[1]) not in persons:
            continue
        name = video[0].lower()
        if name in found:
            raise ValueError(f'{path}: the same video as {found[name]}, expected one of them')
        found[name] = path
    missing = sorted(set(persons) - {int(name[6:8]) for name in found})
    if not found:
        raise FileNotFoundError(
            f'{root}: no video of persons {", ".join(map(str, persons))}, expected files such as '
            'boxing/person01_boxing_d1_uncomp.avi'
        )
    if missing:
        names = ', '.join(map(str, missing))
        print_log(
            f'{root}: no video of persons {names}: this is not all of KTH',
            logger='current',
            level=logging.WARNING,
        )
    return found


def _candidates(root: Path) -> Iterator[Path]:
    """All video files and folders of pictures."""
    for folder in walk(root):
        if any(is_picture(path) for path in folder.iterdir()):
            yield folder
        yield from list_files(folder, VIDEOS)


def _open(path: Path, name: str) -> FrameSource:
    return (
        picture_folder(path, name, numbered=True, first=1)
        if path.is_dir()
        else VideoFrames(path, name, first=1)
    )


def _cut(source: FrameSource, sequences: dict[str, list[tuple[int, int]]], list_file: str) -> FrameSource:
    """The frames of a video's sequences. A sequence may end behind the video, but not begin there."""
    if source.name not in sequences:
        raise ValueError(f"{list_file}: nothing on '{source.name}', expected the sequences of {source.path}")
    last = source.numbers[-1]
    for first, end in sequences[source.name]:
        if first > last:
            raise ValueError(
                f"{list_file}: '{source.name}' has a sequence of frames {first}-{end}, expected none behind "
                f'frame {last}, '
                f'the last of {source.path}'
            )
    kept = [np.arange(first, end + 1) for first, end in sequences[source.name]]
    return source.keep(np.concatenate(kept) if kept else np.array([], dtype=np.int64))
