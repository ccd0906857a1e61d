"""Anyone's own videos."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import ClipFormat, Clips
from mmstremn.datasets.prediction.sources import (
    VIDEO_SUFFIXES,
    FrameSource,
    VideoFrames,
    check_pictures,
    is_picture,
    is_video,
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
        **kwargs,
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

    Pictures in the folder itself are one video of its name.

    Raises:
        FileNotFoundError: There is no such folder, or no video in it.
        ValueError: Two videos differ in their suffixes alone.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected videos in it')
    found = {}
    for path in sorted(root.rglob('*')):
        if is_video(path):
            key, video = path.relative_to(root).with_suffix('').as_posix(), path
        elif is_picture(path):
            video = path.parent
            key = root.name if video == root else video.relative_to(root).as_posix()
        else:
            continue
        if found.setdefault(key, video) != video:
            raise ValueError(f'{video}: differs from {found[key]} in its suffix alone, expected one of them')
    if not found:
        raise FileNotFoundError(
            f'{root}: no videos, expected {", ".join(VIDEO_SUFFIXES)} files or folders of pictures'
        )
    return found


def read_names(ann_file: str, paths: dict[str, Path]) -> list[str]:
    """The videos that a list names, as keys of ``paths``.

    Raises:
        FileNotFoundError: There is no such list, or no such video.
        ValueError: The list is empty.
    """
    if not Path(ann_file).is_file():
        raise FileNotFoundError(f'{ann_file}: no such file, expected a list of videos, one a line')
    lines = [line.strip().rstrip('/') for line in Path(ann_file).read_text().splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'{ann_file}: expected at least one video')
    names = []
    for line in lines:
        name = line if line in paths else Path(line).with_suffix('').as_posix()
        if name not in paths:
            raise FileNotFoundError(f"{ann_file}: no video '{line}' among the {len(paths)} there are")
        names.append(name)
    return list(dict.fromkeys(names))


def open_videos(paths: dict[str, Path], numbered: bool = False) -> list[FrameSource]:
    """The videos of these paths by name; ``numbered`` as for :func:`picture_folder`."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda name: _open(paths[name], name, numbered), paths))


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
