"""J and F of masks in folders, whatever program made them, against true masks in other folders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.folders import composed, existing, list_files, list_folders, natural_key
from mmstremn.datasets.io.masks import MaskFiles, read_mask_header
from mmstremn.datasets.vos.davis import DAVISVideo
from mmstremn.evaluation.video_scores import UnscoredVideoError, score_video
from mmstremn.structures.video import VOID, mask_ids

FEW = 5  # names in a message


@dataclass
class ScoredFolders:
    """Scores of folders of masks.

    Attributes:
        videos: Results of :func:`~mmstremn.evaluation.video_scores.score_video`, in the order of the names.
        unscored: The reasons why others cannot be scored, by name.
        unknown_ids: Predicted ids by video that no true mask has; they count as background.
    """

    videos: list[dict] = field(default_factory=list)
    unscored: dict[str, str] = field(default_factory=dict)
    unknown_ids: dict[str, list[int]] = field(default_factory=dict)


def score_mask_folders(
    predicted: str | Path,
    truth: str | Path,
    names: Sequence[str] | None = None,
    single_object: bool = False,
) -> ScoredFolders:
    """Score predicted masks by the semi-supervised DAVIS protocol, see
    :func:`~mmstremn.evaluation.video_scores.evaluate_video`.

    Masks are read by :class:`~mmstremn.datasets.io.masks.MaskFiles` and matched by the names of their files.
    The frames of a video are those that either folder has: its first and its last one do not count.

    Args:
        predicted, truth: Hold a folder of masks for each video, or the masks of one video. The folder of a
            video may hold them in ``masks``, as that of ``mmstremn segment`` does.
        names: The videos that count; None: all that ``truth`` has.
        single_object: All that is not background is object 1 (DAVIS 2016).

    Raises:
        FileNotFoundError: A folder, a video or the prediction of a frame that counts is missing.
        ValueError: A mask cannot be read or has another size than the first true one of its video. Where
            several are wrong all are named.
    """
    pairs = _pair_folders(Path(predicted), Path(truth), names)
    opened = read_each(lambda pair: _MaskPair(*pair, single_object), pairs)
    scored = ScoredFolders()
    for pair, result in zip(opened, read_each(_MaskPair.score, opened, workers=4), strict=True):
        if isinstance(result, UnscoredVideoError):
            scored.unscored[pair.video.name] = str(result)
            continue
        scored.videos.append(result)
        if unknown := sorted(pair.ids - {0, VOID} - set(pair.video.object_ids)):
            scored.unknown_ids[pair.video.name] = unknown
    return scored


def _pair_folders(predicted: Path, truth: Path, names: Sequence[str] | None) -> list[tuple[str, Path, Path]]:
    """Name, predicted and true folder of each video that counts."""
    if not predicted.is_dir():
        raise FileNotFoundError(f'{predicted}: no such folder, expected predicted masks in it')
    if list_files(truth) and names is None:
        return [(truth.resolve().name, predicted, truth)]
    if names is None:
        names = [folder.name for folder in list_folders(truth)]
        if not any(list_files(truth / name) for name in names):
            raise FileNotFoundError(
                f'{truth}: expected masks in it (one video), or a folder of masks for each video, such as '
                'DAVIS/Annotations/480p'
            )
    pairs = [(name, existing(predicted / name), existing(truth / name)) for name in names]
    for place, root in ((1, predicted), (2, truth)):
        missing = [str(pair[0]) for pair in pairs if not Path(pair[place]).is_dir()]
        if missing:
            raise FileNotFoundError(
                f'{root}: no folder of {len(missing)} of the {len(names)} videos that count: {_some(missing)}'
            )
    return pairs


class _MaskPair:
    """A video of true masks and the predicted masks, of which headers were checked."""

    def __init__(self, name: str, predicted: Path, truth: Path, single_object: bool):
        true_files, files = _masks_of(truth), _masks_of(predicted)
        frames = sorted({*true_files, *files}, key=natural_key)
        missing = [frame for frame in frames[1:-1] if frame in true_files and frame not in files]
        if missing:
            raise FileNotFoundError(
                f'{predicted}: no masks of {len(missing)} of the {len(true_files)} frames of {truth}: '
                f'{_some(missing)}'
            )
        size = _check_sizes([*true_files.values(), *files.values()])
        place = {frame: index for index, frame in enumerate(frames)}
        masks = {place[frame]: path for frame, path in true_files.items()}
        paths = [true_files.get(frame) or files[frame] for frame in frames]
        self.video = DAVISVideo(name, paths, masks, size, single_object)
        self.predicted = MaskFiles(files.values(), single_object)
        if self.video.masks.numbers_objects and self.predicted.numbers_objects:  # one colour, one id
            both = MaskFiles([*true_files.values(), *files.values()], single_object)
            self.video.masks = self.predicted = both
        self.files = {place[frame]: path for frame, path in files.items()}
        self.ids: set[int] = set()

    def score(self) -> dict | UnscoredVideoError:
        try:
            return score_video(self.video, self._read)
        except UnscoredVideoError as error:
            return error

    def _read(self, index: int) -> np.ndarray:
        ids = self.predicted.read(self.files[index])
        self.ids |= mask_ids(ids)
        return ids


def _masks_of(folder: Path) -> dict[str, str]:
    """The masks of a video by frame; in ``masks`` where ``mmstremn segment`` wrote them."""
    inner = folder / 'masks'  # beside it is slots.png, which is no mask
    paths = list_files(inner if inner.is_dir() else folder)
    if not paths:
        raise FileNotFoundError(f'{folder}: expected masks in it, found no picture')
    return {composed(path.stem): str(path) for path in paths}


def _check_sizes(paths: Sequence[str]) -> tuple[int, int]:
    first = read_mask_header(paths[0])
    for path in paths:
        if (size := read_mask_header(path)) != first:
            raise ValueError(
                f'{path}: {size[1]} x {size[0]} pixels, expected {first[1]} x {first[0]} like {paths[0]}'
            )
    return first


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:FEW]) + ', ...' * (len(names) > FEW)
