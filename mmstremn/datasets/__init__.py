"""Data sets, transforms and samplers; importing this package registers them."""

from mmstremn.datasets.base import VOSDataset
from mmstremn.datasets.davis import DAVISDataset, DAVISVideo
from mmstremn.datasets.prediction import (
    FolderVideoDataset,
    Human36MDataset,
    KTHDataset,
    MovingDigitsDataset,
    MovingMNISTDataset,
    PredictionDataset,
)
from mmstremn.datasets.samplers import IterationSampler, SampleRequest
from mmstremn.datasets.static_clips import StaticClipDataset
from mmstremn.datasets.static_image import StaticImageDataset
from mmstremn.datasets.synthetic import SyntheticVOSDataset
from mmstremn.datasets.synthetic_actions import SyntheticActionDataset
from mmstremn.datasets.synthetic_long import LongSyntheticVOSDataset
from mmstremn.datasets.transforms import ClipTransform, PackClip, ThinPlateWarp
from mmstremn.datasets.video import VOID, Video, iterate_frames
from mmstremn.datasets.video_file import ImageFolder, VideoFile, open_video
from mmstremn.datasets.weighting import WeightedVOSDataset
from mmstremn.datasets.youtube_vos import YouTubeVOSDataset

__all__ = [
    'VOID',
    'ClipTransform',
    'DAVISDataset',
    'DAVISVideo',
    'FolderVideoDataset',
    'Human36MDataset',
    'ImageFolder',
    'IterationSampler',
    'KTHDataset',
    'LongSyntheticVOSDataset',
    'MovingDigitsDataset',
    'MovingMNISTDataset',
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
    'WeightedVOSDataset',
    'YouTubeVOSDataset',
    'iterate_frames',
    'open_video',
]
