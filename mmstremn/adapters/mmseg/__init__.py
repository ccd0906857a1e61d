"""Memory inside unmodified mmsegmentation models; importing this package registers its parts.

A config of mmsegmentation names it once and calls the parts by their scope::

    custom_imports = dict(imports=['mmstremn.adapters.mmseg'])
    model = dict(
        decode_head=dict(
            type='mmstremn.MemoryDecodeHead', head=dict(type='FCNHead', ...), memory=dict(type='SlotMemory')))
"""

from importlib.util import find_spec

from mmstremn.mm_packages import INSTALL

if find_spec('mmseg') is None:
    raise ModuleNotFoundError(f'mmstremn.adapters.mmseg needs mmsegmentation. Fix: {INSTALL["mmseg"]}')

from mmstremn.adapters.mmseg.cityscapes_sequence import CityscapesSequenceDataset
from mmstremn.adapters.mmseg.disturbance import DisturbFrame
from mmstremn.adapters.mmseg.feature_memory import FeatureMemory
from mmstremn.adapters.mmseg.inference import segment_video
from mmstremn.adapters.mmseg.mask_decoder_head import MaskDecoderHead
from mmstremn.adapters.mmseg.memory_head import MemoryDecodeHead
from mmstremn.adapters.mmseg.samplers import FrameRequest, VideoClipBatchSampler, VideoSampler
from mmstremn.adapters.mmseg.synthetic import SyntheticVideoSegDataset
from mmstremn.adapters.mmseg.transforms import ClipConsistent, LoadVideoFrame
from mmstremn.adapters.mmseg.video_dataset import VideoSegDataset
from mmstremn.adapters.mmseg.video_metric import VideoSegMetric
from mmstremn.adapters.mmseg.vspw import VSPWDataset

__all__ = [
    'CityscapesSequenceDataset',
    'ClipConsistent',
    'DisturbFrame',
    'FeatureMemory',
    'FrameRequest',
    'LoadVideoFrame',
    'MaskDecoderHead',
    'MemoryDecodeHead',
    'SyntheticVideoSegDataset',
    'VSPWDataset',
    'VideoClipBatchSampler',
    'VideoSampler',
    'VideoSegDataset',
    'VideoSegMetric',
    'segment_video',
]
