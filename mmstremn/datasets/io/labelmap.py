"""CVAT's ``labelmap.txt``: which colour of a mask is which label (its export "Segmentation mask 1.1")."""

from pathlib import Path
from typing import NamedTuple

from mmstremn.structures.masks import MAX_ID

FILE = 'labelmap.txt'
BACKGROUND = 'background'


class LabelMap(NamedTuple):
    """Colours and names of labels.

    Attributes:
        ids: The id of each colour 0xRRGGBB: 0 of the background, 1, 2, ... of the labels in their order.
        labels: The name of each id above 0.
    """

    ids: dict[int, int]
    labels: dict[int, str]


def find_labelmap(folder: Path) -> LabelMap | None:
    """The label map of a folder of masks: in it or in one of the two folders above."""
    for place in [folder, *folder.resolve().parents[:2]]:
        if (place / FILE).is_file():
            return read_labelmap(place / FILE)
    return None


def read_labelmap(path: Path) -> LabelMap:
    """Read lines of ``label:R,G,B:parts:actions``; those that begin with # are comments.

    Raises:
        ValueError: A line has another form, or a colour of another line; there are more than 254 labels.
    """
    ids, labels = {}, {}
    for number, line in enumerate(path.read_text(encoding='utf-8-sig', errors='replace').splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        label, _, rest = line.partition(':')
        try:
            red, green, blue = bytes(int(part) for part in rest.split(':')[0].split(','))
        except ValueError as error:
            raise ValueError(f'{path}: line {number}: expected label:R,G,B::, found {line!r}') from error
        colour = red << 16 | green << 8 | blue
        if label != BACKGROUND:
            labels[len(labels) + 1] = label
        if colour in ids or len(labels) > MAX_ID:
            reason = f'at most {MAX_ID} labels' if colour not in ids else 'a colour of its own for each label'
            raise ValueError(f'{path}: line {number}: expected {reason}, found {line!r}')
        ids[colour] = 0 if label == BACKGROUND else len(labels)
    return LabelMap(ids, labels)
