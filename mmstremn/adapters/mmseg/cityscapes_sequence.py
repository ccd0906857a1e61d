"""The sequences of Cityscapes: snippets of 30 frames of which the 20th has labels (Cordts et al., CVPR
2016)."""

from pathlib import Path

from mmseg.datasets import CityscapesDataset

from mmstremn.adapters.mmseg.video_dataset import VideoSegDataset
from mmstremn.datasets.io.folders import is_hidden
from mmstremn.registry import DATASETS

FRAME, LABELS = '_leftImg8bit.png', '_gtFine_labelTrainIds.png'


@DATASETS.register_module()
class CityscapesSequenceDataset(VideoSegDataset):
    """A video is a labelled frame and those around it; only that frame has labels.

    ``leftImg8bit_sequence/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png`` and, for the labelled
    frames, ``gtFine/<split>/<city>/..._gtFine_labelTrainIds.png`` (made by cityscapesscripts). A video bears
    the name of its labelled frame.

    Args:
        data_root: The folder with both.
        split: 'train', 'val' or 'test'.
        before: Frames taken before the labelled one, at most 19 in the published data.
        after: And behind it, at most 10. A memory that runs online has no use for them.
        **kwargs: ``BaseSegDataset``'s.

    Raises:
        FileNotFoundError: There are no labels, or a labelled frame or one between the first and the last is
            missing; the message names the path.
    """

    METAINFO = CityscapesDataset.METAINFO

    def __init__(self, data_root: str, split: str = 'train', before: int = 19, after: int = 0, **kwargs):
        if min(before, after) < 0:
            raise ValueError(f'before and after must be at least 0, got {before} and {after}')
        self.split, self.before, self.after = split, before, after
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """All frames of the split, by city and time."""
        folder = Path(self.data_root) / 'gtFine' / self.split
        labels = sorted(path for path in folder.glob(f'*/*{LABELS}') if not is_hidden(path))
        if not labels:
            raise FileNotFoundError(f'{folder}: expected labels <city>/*{LABELS}, found none')
        return [info for path in labels for info in self._snippet(path)]

    def _snippet(self, labels: Path) -> list[dict]:
        name = labels.name.removesuffix(LABELS)
        stem, _, number = name.rpartition('_')
        folder = Path(self.data_root) / 'leftImg8bit_sequence' / self.split / labels.parent.name
        middle = int(number)

        def path(frame: int) -> Path:
            return folder / f'{stem}_{frame:0{len(number)}d}{FRAME}'

        def exists(frame: int) -> bool:
            return frame >= 0 and path(frame).is_file()

        found = [frame for frame in range(middle - self.before, middle + self.after + 1) if exists(frame)]
        if middle not in found:
            raise FileNotFoundError(f'{path(middle)}: no such frame, expected the picture of {labels}')
        for frame in range(found[0], found[-1]):
            if frame not in found:
                raise FileNotFoundError(f'{path(frame)}: no such frame, expected all frames around {labels}')
        return [
            self.frame_info(
                name, index, img_path=str(path(frame)), seg_map_path=str(labels) if frame == middle else None
            )
            for index, frame in enumerate(found)
        ]
