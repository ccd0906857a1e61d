"""Data sets, transforms and samplers; importing this package registers them."""

from mmstremn.datasets.io.video_file import ImageFolder, VideoFile, open_video
from mmstremn.datasets.prediction import (
    FolderVideoDataset,
    Human36MDataset,
    KTHDataset,
    MovingDigitsDataset,
    MovingMNISTDataset,
    OccludedDigitsDataset,
    PredictionDataset,
)
from mmstremn.datasets.samplers import IterationSampler, SampleRequest
from mmstremn.datasets.synthetic.actions import SyntheticActionDataset
from mmstremn.datasets.synthetic.long_videos import LongSyntheticVOSDataset
from mmstremn.datasets.synthetic.short_videos import SyntheticVOSDataset
from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.datasets.vos.davis import DAVISDataset, DAVISVideo
from mmstremn.datasets.vos.edited_clips import EditedClips
from mmstremn.datasets.vos.edited_videos import EditedVideoDataset
from mmstremn.datasets.vos.foreign_shots import VideoWithForeignShots
from mmstremn.datasets.vos.static_clips import StaticClipDataset
from mmstremn.datasets.vos.static_image import StaticImageDataset
from mmstremn.datasets.vos.transforms import ClipTransform, PackClip, ThinPlateWarp
from mmstremn.datasets.vos.weighting import WeightedVOSDataset
from mmstremn.datasets.vos.youtube_vos import YouTubeVOSDataset
from mmstremn.structures.video import VOID, Video, iterate_frames

__all__ = [
    'VOID',
    'ClipTransform',
    'DAVISDataset',
    'DAVISVideo',
    'EditedClips',
    'EditedVideoDataset',
    'FolderVideoDataset',
    'Human36MDataset',
    'ImageFolder',
    'IterationSampler',
    'KTHDataset',
    'LongSyntheticVOSDataset',
    'MovingDigitsDataset',
    'MovingMNISTDataset',
    'OccludedDigitsDataset',
    'PackClip',
    'PredictionDataset',
    'SampleRequest',
    'StaticClipDataset',
    'StaticImageDataset',
    'SyntheticActionDataset',
    'SyntheticVOSDataset',
    'ThinPlateWarp',
    'VOSDataset',
    'Video',
    'VideoFile',
    'VideoWithForeignShots',
    'WeightedVOSDataset',
    'YouTubeVOSDataset',
    'iterate_frames',
    'open_video',
]
