"""VSPW: video scene parsing in the wild (Miao et al., CVPR 2021)."""

from pathlib import Path

from mmstremn.adapters.mmseg.video_dataset import VideoSegDataset
from mmstremn.datasets.io.folders import check_name, list_files, read_list
from mmstremn.registry import DATASETS

CLASSES = """
wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole
floor ground grass sand athletic_field road path crosswalk building house bridge tower windmill
well_or_well_lid other_construction sky mountain stone wood ice snowfield grandstand sea river lake
waterfall water billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet
tent roadblock car bus truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre
traffic_light lamp person cat dog horse cattle other_animal tree flower other_plant toy ball_net backboard
skateboard bat ball cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket
bag_or_package trash_can cage plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow
table_or_desk chair_or_seat bench sofa shelf bathtub gun commode roaster other_machine refrigerator
washing_machine Microwave_oven fan curtain textiles clothes painting_or_poster mirror flower_pot_or_vase
clock book tool blackboard tissue screen_or_television computer printer Mobile_phone keyboard
other_electronic_product fruit food instrument train
""".split()  # noqa: SIM905


@DATASETS.register_module()
class VSPWDataset(VideoSegDataset):
    """The layout of VSPW: ``{train,val,test}.txt`` with a video a line,
    ``data/<video>/{origin/*.jpg,mask/*.png}``.

    In the masks 0 (others) and 255 (void) are ignored, 1..124 are the classes. Frames without a mask (the
    test split) have no labels.

    Args:
        data_root: The folder with the lists and ``data``.
        split: 'train', 'val' or 'test'.
        **kwargs: ``BaseSegDataset``'s.

    Raises:
        FileNotFoundError: A list, a video's folder or its frames are missing; the message names the path.
        ValueError: A mask has no frame.
    """

    METAINFO = dict(classes=tuple(CLASSES), palette=[])

    def __init__(self, data_root: str, split: str = 'train', **kwargs):
        self.split = split
        super().__init__(data_root=data_root, reduce_zero_label=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """All frames of the split, in the order of its list."""
        root = Path(self.data_root)
        path = root / f'{self.split}.txt'
        names = read_list(path, 'the names of videos, one a line')
        return [info for name in names for info in self._video(root / 'data' / check_name(name, path))]

    def _video(self, folder: Path) -> list[dict]:
        frames = list_files(folder / 'origin', ('.jpg',))
        if not frames:
            raise FileNotFoundError(f'{folder / "origin"}: expected frames (*.jpg), found none')
        mask_dir = folder / 'mask'
        masks = {
            mask.stem: str(mask) for mask in (list_files(mask_dir, ('.png',)) if mask_dir.is_dir() else [])
        }
        alone = sorted(masks.keys() - {frame.stem for frame in frames})
        if alone:
            raise ValueError(
                f'{masks[alone[0]]}: a mask without a frame, expected {folder / "origin" / alone[0]}.jpg'
            )
        return [
            self.frame_info(folder.name, index, img_path=str(frame), seg_map_path=masks.get(frame.stem))
            for index, frame in enumerate(frames)
        ]
