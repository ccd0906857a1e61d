"""From frames and masks as annotation tools write them to the DAVIS layout."""

from mmstremn.datasets.conversion.annotation import AnnotatedFrame, FrameFolder, Region, find_videos
from mmstremn.datasets.conversion.coco import read_coco
from mmstremn.datasets.conversion.cvat import read_cvat
from mmstremn.datasets.conversion.davis_writer import write_davis
from mmstremn.datasets.conversion.labelme import read_labelme
from mmstremn.datasets.conversion.masks import read_masks
from mmstremn.datasets.conversion.mots import read_mots

READERS = dict(labelme=read_labelme, coco=read_coco, cvat=read_cvat, mots=read_mots, masks=read_masks)

__all__ = [
    'READERS',
    'AnnotatedFrame',
    'FrameFolder',
    'Region',
    'find_videos',
    'read_coco',
    'read_cvat',
    'read_labelme',
    'read_masks',
    'read_mots',
    'write_davis',
]
