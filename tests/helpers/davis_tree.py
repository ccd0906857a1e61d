"""Tiny data in the DAVIS layout: a square per object that moves one pixel a frame."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmstremn.utils.palette import DAVIS_PALETTE

SIZE = (48, 64)


def draw_ids(index: int, ids=(1,), size=SIZE) -> np.ndarray:
    """(H, W) uint8: object k of ``ids`` is a 12 x 12 square in its own place, ``index`` pixels to the
    right."""
    mask = np.zeros(size, np.uint8)
    for place, k in enumerate(ids):
        top, left = 4 + 18 * (place % 2), 2 + 24 * (place // 2) + index
        mask[top : top + 12, left : left + 12] = k
    return mask


def draw_frame(mask: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the objects bright, the background dark and smooth."""
    return (
        np.where(mask > 0, 60 + 40 * mask.astype(int), 20)[..., None]
        .repeat(3, 2)
        .clip(0, 255)
        .astype(np.uint8)
    )


def save_ids(path: Path, ids: np.ndarray) -> None:
    """Write (H, W) uint8 ids as a palette PNG."""
    image = Image.fromarray(ids)
    image.putpalette(DAVIS_PALETTE.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def add_sequence(root: Path, name: str, masks, year: int = 2017, split: str = 'val') -> tuple[Path, Path]:
    """Write one sequence and list it; None among the (H, W) ``masks`` is a frame without annotation.

    Returns:
        The folders of its frames and of its masks.
    """
    frame_dir, mask_dir = root / 'JPEGImages/480p' / name, root / 'Annotations/480p' / name
    frame_dir.mkdir(parents=True)
    mask_dir.mkdir(parents=True)
    for index, mask in enumerate(masks):
        shown = draw_ids(index) if mask is None else mask
        Image.fromarray(draw_frame(shown)).save(frame_dir / f'{index:05d}.jpg', quality=95)
        if mask is not None:
            save_ids(mask_dir / f'{index:05d}.png', mask)
    names = root / 'ImageSets' / str(year) / f'{split}.txt'
    names.parent.mkdir(parents=True, exist_ok=True)
    with names.open('a') as file:
        file.write(f'{name}\n')
    return frame_dir, mask_dir
