"""Photographs with one object mask each, as videos of one frame."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mmstremn.datasets.io.folders import check_name, read_list
from mmstremn.datasets.io.images import describe_size, read_header, read_rgb
from mmstremn.datasets.io.masks import read_mask, read_mask_header
from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.registry import DATASETS
from mmstremn.structures.video import Video


class StaticImage(Video):
    """One picture and the mask of its object: a video of one frame."""

    num_frames = 1

    def __init__(self, name: str, image_path: str | Path, mask_path: str | Path, size: tuple[int, int]):
        self.name = name
        self.image_path = str(image_path)
        self.mask_path = str(mask_path)
        self.size = size

    def frame(self, index: int) -> np.ndarray:
        return read_rgb(self.image_path)

    def mask(self, index: int) -> np.ndarray:
        return read_mask(self.mask_path, single_object=True)


@DATASETS.register_module()
class StaticImageDataset(VOSDataset):
    """Pictures with one object mask each; clips of moving objects come from per-frame transforms in the
    pipeline.

    Args:
        data_root: Holds the list and the two folders.
        ann_file: A text file with one name a line, without suffix.
        image_dir, mask_dir, image_suffix, mask_suffix: Where a name's two files are. All that is
            not background is the object.
        **kwargs: See ``VOSDataset``.

    Raises:
        FileNotFoundError: The list, an image or its mask is missing.
        ValueError: A mask has another size than its image.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str = 'list.txt',
        image_dir: str = 'images',
        mask_dir: str = 'masks',
        image_suffix: str = '.jpg',
        mask_suffix: str = '.png',
        **kwargs: Any,
    ):
        self.suffixes = dict(image=image_suffix, mask=mask_suffix)
        super().__init__(
            data_root=str(data_root),
            ann_file=ann_file,
            data_prefix=dict(image=image_dir, mask=mask_dir),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """One video of one frame per name in the list; only headers are read."""
        names = read_list(self.ann_file, 'a list of image names, one a line')
        return [dict(video=self._read(check_name(name, self.ann_file))) for name in names]

    def _read(self, name: str) -> StaticImage:
        image, mask = (
            os.path.join(self.data_prefix[kind], name + self.suffixes[kind]) for kind in ('image', 'mask')
        )
        if not os.path.isfile(image):
            raise FileNotFoundError(
                f"{image}: no such file, expected the image of '{name}' in {self.ann_file}"
            )
        if not os.path.isfile(mask):
            raise FileNotFoundError(f'{mask}: no such file, expected the mask of {image}')
        header, mask_size = read_header(image), read_mask_header(mask)
        if header.size != mask_size:
            raise ValueError(
                f'{mask}: {mask_size[1]} x {mask_size[0]} pixels, expected '
                f'{describe_size(header)} like {image}'
            )
        return StaticImage(name, image, mask, header.size)
