"""Moving MNIST: Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", ICML
2015."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import ClipFormat, Clips
from mmstremn.datasets.prediction.mnist_files import SequenceClip, SequenceFile, read_idx_images
from mmstremn.datasets.prediction.moving_digits import NUM_CLIPS, ClipSeeds, DigitClips
from mmstremn.datasets.prediction.windows import make_windows
from mmstremn.registry import DATASETS

TEST_FILES = ('mnist_test_seq.npy', 'mnist_test_seq.npz', 'moving-mnist-test.npz')
DIGIT_FILES = ('train-images-idx3-ubyte.gz', 'train-images-idx3-ubyte', 'train-images.idx3-ubyte')
DEV_DIGITS = 5000
"""The last images of MNIST's training set, which dev clips are made of and training clips are not."""


@DATASETS.register_module()
class MovingMNISTDataset(PredictionDataset):
    """Two digits of MNIST in 64 x 64 pixels, 20 frames.

    'test' is the public test set (mnist_test_seq.npy or .npz, or PredRNN's moving-mnist-test.npz). 'train'
    and 'dev' are made of the images of train-images-idx3-ubyte.gz while they are read, each of its own
    images. Where that file is missing, or for PredRNN's moving-mnist-train.npz and -valid.npz, give
    ``sequence_file``.

    Args:
        data_root: The folder of the files.
        split: 'train', 'dev' or 'test'.
        sequence_file: Take the clips of this file of ``data_root``, in any split.
        clips: First clip and end of the part of the file to take. Parts of the test set for 'train', 'dev'
            and 'test' must not overlap; figures are then no figures of the benchmark, and a warning says so.
        num_digits: Digits of a clip that is made here.
        seed: Another seed gives other clips that are made here.
        **kwargs: See ``PredictionDataset``.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged or its clips are too short; the message names it.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        sequence_file: str | None = None,
        clips: Sequence[int] | None = None,
        num_digits: int = 2,
        seed: int = 0,
        **kwargs: Any,
    ):
        self.sequence_file = sequence_file
        self.part = clips
        self.num_digits = num_digits
        self.seed = seed
        super().__init__(data_root=str(data_root), split=split, **kwargs)

    def load_clips(self) -> Clips:
        """The clips of a file, or of digits that move."""
        root = Path(self.data_root)
        if self.sequence_file is not None:
            return self._read_clips(root / self.sequence_file)
        if self.split == 'test':
            return self._read_clips(_find(root, TEST_FILES, 'the test set of Moving MNIST'))
        hint = "MNIST's training images; without them give sequence_file (and clips, a part of it)"
        images = read_idx_images(_find(root, DIGIT_FILES, hint))
        images = images[:-DEV_DIGITS] if self.split == 'train' else images[-DEV_DIGITS:]
        seeds = ClipSeeds(self.split, 1, self.seed)
        return DigitClips(images, NUM_CLIPS[self.split], self.num_frames, self.size, self.num_digits, seeds)

    def _read_clips(self, path: Path) -> Clips:
        file = SequenceFile(path)
        first, end = (0, file.num_clips) if self.part is None else self.part
        if not 0 <= first < end <= file.num_clips:
            raise ValueError(f'{path}: clips {first}..{end}, expected a part of its {file.num_clips} clips')
        if self.split != 'test' and path.name in TEST_FILES:
            print_log(
                f"the '{self.split}' split takes clips {first}..{end} of the test set {path}: figures of "
                'the other clips '
                'cannot be compared with published ones',
                logger='current',
                level=logging.WARNING,
            )
        numbers = np.arange(file.num_frames)
        sources = [SequenceClip(file, place, numbers) for place in range(first, end)]
        return make_windows(sources, ClipFormat(self.num_frames, self.size), random=self.split == 'train')


def _find(root: Path, names: Sequence[str], what: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f'{root}: none of {", ".join(names)}, expected {what}')
