"""Where collections of pictures with object masks keep their files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmstremn.datasets.io.each import raise_all
from mmstremn.datasets.io.folders import PICTURES, composed, list_files, read_list, walk


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
LIST = 'a list of image names, one a line'


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
            f"{root}: no images, expected {' or '.join(PICTURES)} files in the layout '{layout}'"
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
    images, masks = (_by_name(folder) for folder in (image_dir, mask_dir))
    names = {**images, **masks}
    missing = []
    for name in map(composed, read_list(root / 'list.txt', LIST)) if layout == 'list' else names:
        image, mask = image_dir / f'{name}.jpg', mask_dir / f'{name}.png'
        if name not in images:
            missing.append(f'{image}: no such file, expected the image of {mask}')
        elif name not in masks:
            missing.append(f'{mask}: no such file, expected the mask of {images[name]}')
        else:
            yield ImagePair(name, images[name], masks[name])
    raise_all([FileNotFoundError(line) for line in missing])


def _by_name(folder: Path) -> dict[str, Path]:
    return {composed(path.stem): path for path in list_files(folder)}


def _beside(root: Path) -> Iterator[ImagePair]:
    missing = []
    for folder in walk(root):
        masks = {path.stem: path for path in list_files(folder, ('.png',))}
        for image in list_files(folder, ('.jpg', '.jpeg')):
            if image.stem not in masks:
                missing.append(f'{image.with_suffix(".png")}: no such file, expected the mask of {image}')
                continue
            name = image.relative_to(root).with_suffix('').as_posix()
            yield ImagePair(name, image, masks[image.stem])
    raise_all([FileNotFoundError(line) for line in missing])
