"""The official list of the sequences in KTH's videos, 00sequences.txt."""

import re
from pathlib import Path

VIDEO = re.compile(r'person(\d\d)_([a-z]+)_d(\d)', re.IGNORECASE)
RANGE = re.compile(r'(\d+)\s*-\s*(\d+)')


def read_sequence_list(path: str | Path) -> dict[str, list[tuple[int, int]]]:
    """First and last frame, from 1 on, of the sequences of each video, such as 'person01_boxing_d1'.

    A line is ``person01_boxing_d1  frames  1-95, 96-185``. White space, line ends and text between the lines
    do not matter; ranges may be unordered and overlap, as some of the official list do. A video marked as
    ``*missing*`` has none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: No line is of this form, or the ranges of one cannot be read; the message names the file
            and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, expected KTH's 00sequences.txt (ann_file='' takes whole videos)"
        )
    sequences = {}
    for place, line in enumerate(
        path.read_text(encoding='utf-8-sig', errors='replace').splitlines(), start=1
    ):
        video = VIDEO.match(line.strip())
        if video:
            sequences[video[0].lower()] = _read_ranges(line.strip()[video.end() :], f'{path}, line {place}')
    if not any(sequences.values()):
        raise ValueError(
            f"{path}: no sequences, expected lines such as 'person01_boxing_d1 frames 1-95, 96-185'"
        )
    return sequences


def _read_ranges(text: str, where: str) -> list[tuple[int, int]]:
    ranges = [(int(first), int(last)) for first, last in RANGE.findall(text)]
    if not ranges and 'missing' not in text.lower():
        raise ValueError(
            f"{where}: no ranges of frames, expected such as '1-95, 96-185', found '{text.strip()}'"
        )
    for first, last in ranges:
        if not 1 <= first <= last:
            raise ValueError(
                f'{where}: frames {first}-{last}, expected a first frame of 1 or more and a last one behind '
                'it'
            )
    return ranges
