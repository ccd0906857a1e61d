"""Anyone's own videos."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.folders import VIDEOS, is_picture, list_files, read_list, walk, without_suffix
from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import ClipFormat, Clips
from mmstremn.datasets.prediction.sources import (
    FrameSource,
    VideoFrames,
    check_pictures,
    picture_folder,
)
from mmstremn.datasets.prediction.splits import split_of
from mmstremn.datasets.prediction.windows import drop_short, make_windows
from mmstremn.registry import DATASETS


@DATASETS.register_module()
class FolderVideoDataset(PredictionDataset):
    """The videos of a folder at any depth: video files, and folders of pictures, of any lengths and sizes.

    A training clip begins anywhere in a video, and long videos are drawn more often; the clips of 'dev' and
    'test' lie one after the other. Which split a video is in is decided by a list, or else by the hash of its
    name.

    Args:
        data_root: The folder.
        split: 'train', 'dev' or 'test'.
        ann_file: The videos of this split, one a line, as paths in ``data_root`` with or without suffix; ''
            decides by hash.
        fractions: The shares of videos that 'dev' and 'test' get by hash.
        channels: 1 for grey frames or 3 for colour, whatever the videos are; None takes what they all are.
        step: Take every ``step``-th frame.
        crop: Cut frames to the proportions of ``size`` instead of stretching them.
        skip_short: Leave out videos that are too short for a clip, with a warning, instead of refusing them.
        **kwargs: See ``PredictionDataset``.

    Raises:
        FileNotFoundError: The folder, the list or a video in it is missing.
        ValueError: A video is damaged or too short, its frames differ in size or kind, some videos are grey
            and others in colour, or the split is empty; the message names the file.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        ann_file: str = '',
        fractions: Sequence[float] = (0.1, 0.1),
        channels: int | None = None,
        step: int = 1,
        crop: bool = True,
        skip_short: bool = False,
        **kwargs: Any,
    ):
        if len(fractions) != 2 or min(fractions) < 0 or sum(fractions) > 1:
            raise ValueError(f"fractions must be the shares of 'dev' and 'test', got {fractions}")
        if channels not in (None, 1, 3):
            raise ValueError(f'channels must be 1, 3 or None, got {channels}')
        if step < 1:
            raise ValueError(f'step must be 1 or more, got {step}')
        self.fractions = tuple(fractions)
        self.channels = channels
        self.step = step
        self.crop = crop
        self.skip_short = skip_short
        super().__init__(data_root=str(data_root), split=split, ann_file=ann_file, **kwargs)

    def load_clips(self) -> Clips:
        """Windows of the videos of the split."""
        paths = self._choose(find_videos(Path(self.data_root)))
        sources = open_videos(paths)
        check_pictures(sources)
        channels = self.channels or common_channels(sources)
        clip_format = ClipFormat(self.num_frames, self.size, channels, self.step, self.crop)
        if self.skip_short:
            sources = drop_short(sources, clip_format)
        return make_windows(sources, clip_format, random=self.split == 'train')

    def _choose(self, paths: dict[str, Path]) -> dict[str, Path]:
        if self.ann_file:
            return {name: paths[name] for name in read_names(self.ann_file, paths)}
        chosen = {name: path for name, path in paths.items() if split_of(name, *self.fractions) == self.split}
        if not chosen:
            raise ValueError(
                f"{self.data_root}: none of its {len(paths)} videos is in the '{self.split}' split with "
                'fractions '
                f'{self.fractions}, expected at least one: name them in an ann_file'
            )
        return chosen


def find_videos(root: Path) -> dict[str, Path]:
    """The video files and folders of pictures in a folder, at any depth, by their paths in it without suffix.

    Pictures in the folder itself are one video of its name. Pictures beside video files, and a single one
    beside folders of videos, are covers: they are left out, and a line says so.

    Raises:
        FileNotFoundError: There is no such folder, or no video in it.
        ValueError: Two videos, or two pictures of one, differ in their suffixes alone.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected videos in it')
    found, covers = {}, {}
    for folder in walk(root):
        videos = list_files(folder, VIDEOS)
        pictures = [path for path in folder.iterdir() if is_picture(path)]
        key = root.resolve().name if folder == root else folder.relative_to(root).as_posix()
        if videos and pictures:
            _say_left_out(pictures)
        if len(pictures) == 1:
            covers[folder] = key
        names = {path.relative_to(root).with_suffix('').as_posix(): path for path in videos}
        for name, video in (names or ({key: folder} if pictures else {})).items():
            if found.setdefault(name, video) != video:
                raise ValueError(
                    f'{video}: differs from {found[name]} in its suffix alone, expected one of them'
                )
    for folder, key in covers.items():
        if found.get(key) == folder and any(folder in path.parents for path in found.values()):
            _say_left_out([path for path in found.pop(key).iterdir() if is_picture(path)])
    if not found:
        raise FileNotFoundError(
            f'{root}: no videos, expected {", ".join(VIDEOS)} files or folders of pictures'
        )
    return found


def _say_left_out(pictures: Sequence[Path]) -> None:
    print_log(
        f'{pictures[0]}: {len(pictures)} pictures beside videos are taken for covers and left out',
        logger='current',
        level=logging.WARNING,
    )


def read_names(ann_file: str, paths: dict[str, Path]) -> list[str]:
    """The videos that a list names, as keys of ``paths``.

    Raises:
        FileNotFoundError: There is no such list, or no such video.
        ValueError: The list is empty.
    """
    names = []
    for line in read_list(ann_file, 'a list of videos, one a line'):
        name = line.rstrip('/')
        name = name if name in paths else without_suffix(Path(name))
        if name not in paths:
            raise FileNotFoundError(f"{ann_file}: no video '{line}' among the {len(paths)} there are")
        names.append(name)
    return list(dict.fromkeys(names))


def open_videos(paths: dict[str, Path], numbered: bool = False) -> list[FrameSource]:
    """The videos of these paths by name; ``numbered`` as for :func:`picture_folder`."""
    return read_each(lambda name: _open(paths[name], name, numbered), paths)


def _open(path: Path, name: str, numbered: bool) -> FrameSource:
    return picture_folder(path, name, numbered) if path.is_dir() else VideoFrames(path, name)


def common_channels(sources: Sequence[FrameSource]) -> int:
    """What all videos are: 1 for grey, 3 for colour.

    Raises:
        ValueError: One differs from the first; the message names both.
    """
    first = sources[0].channels
    for source in sources[1:]:
        if source.channels != first:
            kinds = {1: 'grey', 3: 'in colour'}
            raise ValueError(
                f'{source.path}: {kinds[4 - first]}, but {sources[0].path} is {kinds[first]}: expected '
                'videos of one kind, '
                'or channels=1 or 3 to convert them'
            )
    return first
