"""DAVIS 2016 and 2017, and any data in their layout.

Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016;
Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object Segmentation, arXiv 1704.00675.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.images import read_rgb, resize_ids, resize_rgb, scaled_size
from mmstremn.datasets.io.masks import MaskFiles
from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.datasets.vos.davis_layout import read_sequence, read_sequence_names
from mmstremn.registry import DATASETS
from mmstremn.structures.video import VOID, Video, mask_ids


class DAVISVideo(Video):
    """One sequence; holds paths alone, frames and masks are decoded when asked for.

    Args:
        name: The sequence.
        frame_files: Path of every frame.
        mask_files: Path of the mask of every annotated frame.
        size: (H, W) of the files.
        single_object: All ids above 0 are object 1 (DAVIS 2016).
        short_side: Frames (area) and masks (nearest) are resized to this many pixels on the shorter side.
    """

    def __init__(
        self,
        name: str,
        frame_files: Sequence[str],
        mask_files: dict[int, str],
        size: tuple[int, int],
        single_object: bool = False,
        short_side: int | None = None,
    ):
        self.name = name
        self.frame_files = list(frame_files)
        self.mask_files = dict(sorted(mask_files.items()))
        self.size = scaled_size(size, short_side)
        self.masks = MaskFiles(self.mask_files.values(), single_object)

    @property
    def num_frames(self) -> int:
        return len(self.frame_files)

    @property
    def annotated(self) -> list[int]:
        return list(self.mask_files)

    @property
    def frame_names(self) -> list[str]:
        """The names of the frames without suffix, such as ``'00000'``."""
        return [Path(path).stem for path in self.frame_files]

    def frame(self, index: int) -> np.ndarray:
        return resize_rgb(read_rgb(self.frame_files[index]), self.size)

    def mask(self, index: int) -> np.ndarray | None:
        if index not in self.mask_files:
            return None
        return resize_ids(self.source_mask(index), self.size)

    def source_mask(self, index: int) -> np.ndarray:
        """The mask of an annotated frame at the size of its file."""
        return self.masks.read(self.mask_files[index])


@DATASETS.register_module()
class DAVISDataset(VOSDataset):
    """Sequences in the DAVIS layout. Frames may lack masks; objects may appear after frame 0.

    Any ids in 1..254 will do. Construction reads the names and headers of all files (no decoding) and, in
    ``test_mode``, the masks up to the first that shows an object; frames before it have empty predictions.

    Args:
        data_root: Holds ``JPEGImages``, ``Annotations`` and, unless ``split`` is None, ``ImageSets``.
        year: 2017 (many objects), or 2016 (one: all ids above 0, or grey 255, become 1).
        split: Any list ``ImageSets/<year>/<split>.txt``; None: all sequences.
        resolution: The folder below ``JPEGImages`` and ``Annotations``: ``480p``, ``Full-Resolution``, ...;
            empty where the sequences lie in them directly (Long-time Video, LVOS).
        consecutive: The numbers of the frames must go up by one constant step: a gap is a missing frame.
        short_side: Frames and masks are delivered with this many pixels on the shorter side (None: as they
            are).
        **kwargs: See ``VOSDataset``.

    Raises:
        FileNotFoundError: The root, list, folder or a frame between others is missing.
        ValueError: A file has another size or mode than expected, or (testing) no mask shows an object.
    """

    def __init__(
        self,
        data_root: str,
        year: int = 2017,
        split: str | None = 'train',
        resolution: str = '480p',
        consecutive: bool = True,
        short_side: int | None = None,
        **kwargs: Any,
    ):
        self.year = int(year)
        self.split = split
        self.resolution = resolution
        self.consecutive = consecutive
        self.short_side = short_side
        super().__init__(
            data_root=str(data_root), data_prefix=dict(frames='JPEGImages', masks='Annotations'), **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """One ``DAVISVideo`` per sequence of the split."""
        names = read_sequence_names(Path(self.data_root), self.year, self.split, self.resolution)
        return [dict(video=video) for video in read_each(self._read, names)]

    def _read(self, name: str) -> DAVISVideo:
        frame_dir, mask_dir = (
            Path(self.data_prefix[kind], self.resolution, name) for kind in ('frames', 'masks')
        )
        files = read_sequence(frame_dir, mask_dir, self.consecutive)
        video = DAVISVideo(name, *files, single_object=self.year == 2016, short_side=self.short_side)
        if self.test_mode:
            _check_shows_object(video)
        return video


def _check_shows_object(video: DAVISVideo) -> None:
    """Decode masks until one shows an object."""
    values = set()
    for index in video.annotated:
        values |= mask_ids(video.source_mask(index))
        if values - {0, VOID}:
            return
    hint = ' (all of it is 0 or 255, void: for masks of DAVIS 2016 set year=2016)' if VOID in values else ''
    first = next(iter(video.mask_files.values()))
    raise ValueError(
        f'first mask {first}{hint} is empty, and so are later ones: expected at least one object to follow'
    )
