"""Where collections of pictures with object masks keep their files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmstremn.datasets.vos.davis_layout import FRAME_SUFFIXES


class ImagePair(NamedTuple):
    """A picture and its mask; ``name`` is unique in its collection."""

    name: str
    image: Path
    mask: Path


# Folders of the images and of the masks below the root; the first that exist are taken.
FOLDERS = dict(
    plain=[('images', 'masks')],
    ecssd=[('images', 'ground_truth_mask')],
    duts=[
        ('DUTS-TR-Image', 'DUTS-TR-Mask'),
        ('DUTS-TR/DUTS-TR-Image', 'DUTS-TR/DUTS-TR-Mask'),
        ('DUTS-TE-Image', 'DUTS-TE-Mask'),
    ],
)
LAYOUTS = (*FOLDERS, 'fss1000', 'list')


def find_pairs(root: Path, layout: str) -> list[ImagePair]:
    """The pairs of a collection, in the order of their names.

    Args:
        root: The collection's folder.
        layout: ``plain`` (``images/*.jpg``, ``masks/*.png``), ``list`` (the same, named one a line in
            ``list.txt``), ``ecssd`` (``images``, ``ground_truth_mask``), ``duts`` (``DUTS-TR-Image``,
            ``DUTS-TR-Mask``) or ``fss1000`` (``<class>/1.jpg`` beside ``<class>/1.png``; pictures beside
            their masks in the root itself are taken too).

    Raises:
        FileNotFoundError: The root, a folder, or one file of a pair is missing.
        ValueError: No such layout, or no pairs.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout '{layout}': expected one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder, expected images and masks in the layout '{layout}'")
    pairs = list(_beside(root) if layout == 'fss1000' else _in_folders(root, layout))
    if not pairs:
        raise ValueError(
            f"{root}: no images, expected {' or '.join(FRAME_SUFFIXES)} files in the layout '{layout}'"
        )
    return pairs


def _in_folders(root: Path, layout: str) -> Iterator[ImagePair]:
    choices = [
        (root / images, root / masks) for images, masks in FOLDERS['plain' if layout == 'list' else layout]
    ]
    present = [pair for pair in choices if all(folder.is_dir() for folder in pair)]
    if not present:
        expected = ', or '.join(f'{images} and {masks}' for images, masks in choices)
        raise FileNotFoundError(f"{root}: layout '{layout}': expected the folders {expected}")
    image_dir, mask_dir = present[0]
    masks = {path.stem: path for path in sorted(mask_dir.iterdir()) if path.suffix.lower() == '.png'}
    images = {
        path.stem: path for path in sorted(image_dir.iterdir()) if path.suffix.lower() in FRAME_SUFFIXES
    }
    for name in _listed(root / 'list.txt') if layout == 'list' else sorted({*images, *masks}):
        if name not in images:
            raise FileNotFoundError(
                f'{image_dir / name}.jpg: no such file, expected the image of {mask_dir / name}.png'
            )
        if name not in masks:
            raise FileNotFoundError(
                f'{mask_dir / name}.png: no such file, expected the mask of {images[name]}'
            )
        yield ImagePair(name, images[name], masks[name])


def _beside(root: Path) -> Iterator[ImagePair]:
    for image in sorted(path for path in root.rglob('*') if path.suffix.lower() in ('.jpg', '.jpeg')):
        mask = image.with_suffix('.png')
        if not mask.is_file():
            raise FileNotFoundError(f'{mask}: no such file, expected the mask of {image}')
        yield ImagePair(image.relative_to(root).with_suffix('').as_posix(), image, mask)


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected a list of image names, one a line')
    return path.read_text().split()
