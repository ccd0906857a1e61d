"""What data sets hand to models: data samples, and videos whose frames are decoded when asked for."""

from mmstremn.structures.data_samples import VOID, PredictionDataSample, VOSDataSample
from mmstremn.structures.masks import GivenIds, black_and_white, read_masks
from mmstremn.structures.prompts import GivenPrompts, read_prompts
from mmstremn.structures.video import Video, iterate_frames, mask_ids

__all__ = [
    'VOID',
    'GivenIds',
    'GivenPrompts',
    'PredictionDataSample',
    'VOSDataSample',
    'Video',
    'black_and_white',
    'iterate_frames',
    'mask_ids',
    'read_masks',
    'read_prompts',
]
