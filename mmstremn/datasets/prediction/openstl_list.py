"""OpenSTL's lists of Human3.6M clips (chengtan9907/OpenSTL openstl/datasets/dataloader_human.py)."""

from pathlib import Path

from mmstremn.datasets.io.folders import check_name, read_list
from mmstremn.datasets.prediction.clips import ClipFormat, FixedWindows
from mmstremn.datasets.prediction.sources import Pictures
from mmstremn.datasets.prediction.splits import split_of

DEV_SHARE = 0.1


def read_openstl_list(root: Path, split: str, clip_format: ClipFormat) -> FixedWindows:
    """The clips that ``train.txt`` or ``test.txt`` names; a tenth of the videos of the first is 'dev'.

    A line is ``images/S11_Walking.60457274_,1621``: what comes before the six digits of a picture's name, and
    the number of the first frame.

    Raises:
        FileNotFoundError: The list or a picture is missing.
        ValueError: A line has another form.
    """
    path = root / ('test.txt' if split == 'test' else 'train.txt')
    windows = [
        (prefix, first)
        for prefix, first in _read_lines(path)
        if split == 'test' or (split_of(prefix, DEV_SHARE, 0) == split)
    ]
    if not windows:
        raise ValueError(
            f"{path}: no clips in the '{split}' split, expected lines such as images/S1_Eating.54138969_,1"
        )
    numbers = {}
    for prefix, first in windows:
        span = range(first, first + clip_format.length * clip_format.step, clip_format.step)
        numbers.setdefault(prefix, set()).update(span)
    sources = [_open(root, prefix, some, path) for prefix, some in numbers.items()]
    places = {prefix: place for place, prefix in enumerate(numbers)}
    return FixedWindows(sources, [(places[prefix], first) for prefix, first in windows], clip_format)


def _read_lines(path: Path) -> list[tuple[str, int]]:
    lines = []
    for line in read_list(path, "OpenSTL's list of clips"):
        fields = line.split(',')
        if len(fields) < 2 or not fields[1].strip().isdecimal():
            raise ValueError(f"{path}: '{line}', expected such as images/S1_Eating.54138969_,1")
        lines.append((check_name(fields[0].strip(), path), int(fields[1])))
    return lines


def _open(root: Path, prefix: str, numbers: set[int], list_file: Path) -> Pictures:
    files = {number: f'{root / prefix}{number:06d}.jpg' for number in sorted(numbers)}
    for file in files.values():
        if not Path(file).is_file():
            raise FileNotFoundError(f'{file}: no such file, expected a picture of a clip in {list_file}')
    return Pictures(files, root / f'{prefix}*', Path(prefix).name.rstrip('_'))
