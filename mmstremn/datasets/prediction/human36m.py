"""Human3.6M: Ionescu et al., "Human3.6M: Large Scale Datasets and Predictive Methods for 3D Human Sensing",
PAMI 2014."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmstremn.datasets.io.folders import list_files
from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import ClipFormat, Clips
from mmstremn.datasets.prediction.folder_video import find_videos, open_videos
from mmstremn.datasets.prediction.openstl_list import read_openstl_list
from mmstremn.datasets.prediction.sources import FrameSource, Pictures, frame_number
from mmstremn.datasets.prediction.windows import drop_short, make_windows
from mmstremn.registry import DATASETS

SUBJECTS = {'train': (1, 5, 6, 7), 'dev': (8,), 'test': (9, 11)}
FLAT_NAME = re.compile(r'(S(\d+)_.+?)_?\d+')
OVERLAP = (
    "OpenSTL's lists share all subjects: 8,483 of its 8,582 test windows contain a frame of a training "
    'window. Compare its '
    'figures with those of the same lists only; without openstl_lists the split is by subject'
)


@DATASETS.register_module()
class Human36MDataset(PredictionDataset):
    """Videos of 11 people, here the 7 of the public part, in colour; 4 frames after 4 at a tenth of a second
    by default.

    Subjects 1, 5, 6, 7 and 8 are for training and 9 and 11 for testing; of the first, 8 is 'dev' and is not
    trained on. Videos without room for a clip are left out.

    Args:
        data_root: Holds a folder a subject, ``S1`` and so on (in itself or in ``images``), with videos or
            folders of numbered pictures at any depth; or pictures such as
            ``S11_Walking.60457274_001621.jpg``, as OpenSTL has them. Names that begin with '_' are left out
            (the original has its joined videos there).
        split: 'train', 'dev' or 'test'.
        step: The difference between the numbers of neighbouring frames; the videos have 50 frames a second.
        subjects: Take these subjects instead of the split's.
        openstl_lists: Take the clips that ``train.txt`` and ``test.txt`` in ``data_root`` name instead, as
            OpenSTL does (its 'dev' is a tenth of the videos in ``train.txt``). **Its test clips overlap its
            training clips.**
        **kwargs: See ``PredictionDataset``.

    Raises:
        FileNotFoundError: The folder, a list or a picture that it names, or all videos of the subjects are
            missing.
        ValueError: A video is damaged, or a list has another form; the message names the file.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        input_frames: int = 4,
        output_frames: int = 4,
        size: int | Sequence[int] = 256,
        step: int = 5,
        subjects: Sequence[int] | None = None,
        openstl_lists: bool = False,
        **kwargs: Any,
    ):
        self.step = step
        self.subjects = subjects
        self.openstl_lists = openstl_lists
        super().__init__(
            data_root=str(data_root),
            split=split,
            input_frames=input_frames,
            output_frames=output_frames,
            size=size,
            **kwargs,
        )

    def load_clips(self) -> Clips:
        """Windows of the subjects' videos, or those of OpenSTL's lists."""
        root = Path(self.data_root)
        clip_format = ClipFormat(self.num_frames, self.size, channels=3, step=self.step)
        if self.openstl_lists:
            print_log(OVERLAP, logger='current', level=logging.WARNING)
            return read_openstl_list(root, self.split, clip_format)
        subjects = SUBJECTS[self.split] if self.subjects is None else tuple(self.subjects)
        sources = drop_short(find_subjects(root, subjects), clip_format)
        return make_windows(sources, clip_format, random=self.split == 'train')


def find_subjects(root: Path, subjects: Sequence[int]) -> list[FrameSource]:
    """The videos of some subjects.

    Raises:
        FileNotFoundError: There is no such folder, or no video of one of the subjects.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected the videos of Human3.6M')
    flat = {}
    for folder in (root, root / 'images'):
        flat |= _flat_pictures(folder) if folder.is_dir() else {}
    sources = []
    for subject in subjects:
        folders = [
            folder for folder in (root / f'S{subject}', root / 'images' / f'S{subject}') if folder.is_dir()
        ]
        mine = [source for name, source in flat.items() if name.startswith(f'S{subject}_')]
        for folder in folders:
            paths = {f'{folder.name}/{name}': path for name, path in find_videos(folder).items()}
            mine += open_videos(
                {name: path for name, path in paths.items() if '/_' not in name}, numbered=True
            )
        if not mine:
            raise FileNotFoundError(
                f'{root}: no videos of subject {subject}, expected a folder S{subject} or pictures such as '
                f'S{subject}_Walking.60457274_001621.jpg'
            )
        sources += mine
    return sources


def _flat_pictures(folder: Path) -> dict[str, Pictures]:
    """The videos whose pictures all lie in one folder, by names such as 'S11_Walking.60457274'."""
    files = {}
    for path in list_files(folder):
        name = FLAT_NAME.fullmatch(path.stem)
        if name:
            files.setdefault(name[1], {})[frame_number(path.stem)] = str(path)
    return {name: Pictures(some, folder / f'{name}_*', name) for name, some in files.items()}
