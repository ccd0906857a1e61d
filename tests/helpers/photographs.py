"""Photographs with masks that a test writes, in every layout of static images."""

import numpy as np
from PIL import Image

SIZE = (64, 64)
FOLDERS = dict(
    plain=('images', 'masks'),
    list=('images', 'masks'),
    ecssd=('images', 'ground_truth_mask'),
    duts=('DUTS-TR/DUTS-TR-Image', 'DUTS-TR/DUTS-TR-Mask'),
    fss1000=('abacus', 'abacus'),
)


def square(top=20, left=20, side=24, size=SIZE):
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def add_pair(root, name, mask=None, layout='plain', mode='L', shade=120):
    """Write a photograph: an object of one shade on a dark ground."""
    mask = square() if mask is None else mask
    image_dir, mask_dir = (root / folder for folder in FOLDERS[layout])
    for folder in (image_dir, mask_dir):
        folder.mkdir(parents=True, exist_ok=True)
    picture = np.where(mask[..., None] > 0, shade, 20).repeat(3, 2).astype(np.uint8)
    Image.fromarray(picture).save(image_dir / f'{name}.jpg', quality=95)
    Image.fromarray(mask * 255).convert(mode).save(mask_dir / f'{name}.png')
    if layout == 'list':
        with (root / 'list.txt').open('a') as file:
            file.write(f'{name}\n')
    return image_dir / f'{name}.jpg', mask_dir / f'{name}.png'
