"""Models: backbones, encoders, decoder, the VOS segmentor; and the registration of the memory's parts."""

from mmstremn.memory import AFFINITIES, CUTIE_PARTS, GATES, MEMORIES, READERS, SELECTORS, SLOT_OPTIONS
from mmstremn.models.backbone import TimmBackbone
from mmstremn.models.clip_model import ClipModel
from mmstremn.models.fuse import fuse_conv_bn
from mmstremn.models.key_encoder import FrameFeatures, KeyEncoder
from mmstremn.models.prediction.decoders import FrameDecoder, PatchDecoder
from mmstremn.models.prediction.encoders import ConvBackbone, PatchBackbone
from mmstremn.models.prediction.losses import PredictionLoss
from mmstremn.models.prediction.predictor import VideoPredictor
from mmstremn.models.prediction.preprocessor import PredictionDataPreprocessor
from mmstremn.models.prediction.sampling import ReverseScheduledSampling, ScheduledSampling
from mmstremn.models.prediction.simvp import SimVP
from mmstremn.models.prediction.stream import PredictionStream
from mmstremn.models.segmentation.decoders import MaskDecoder, aggregate
from mmstremn.models.segmentation.encoders import ValueEncoder
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.models.segmentation.losses import BootstrappedCEDiceLoss
from mmstremn.models.segmentation.merged_stream import MergedStream
from mmstremn.models.segmentation.object_transformer import ObjectTransformer, PixelFuser
from mmstremn.models.segmentation.preprocessor import VOSDataPreprocessor
from mmstremn.models.segmentation.presence import PresenceHead
from mmstremn.models.segmentation.published_decoders import CutieDecoder, STCNDecoder, STMDecoder, XMemDecoder
from mmstremn.models.segmentation.published_encoders import (
    CutieValueEncoder,
    STCNValueEncoder,
    STMValueEncoder,
)
from mmstremn.models.segmentation.segmentor import VOSegmentor
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.models.token_classifier import TokenClassifier
from mmstremn.registry import MODELS

for _part in (*AFFINITIES, *CUTIE_PARTS, *GATES, *MEMORIES, *READERS, *SELECTORS, *SLOT_OPTIONS):
    MODELS.register_module(module=_part)

__all__ = [
    'BootstrappedCEDiceLoss',
    'ClipModel',
    'ConvBackbone',
    'CutieDecoder',
    'CutieValueEncoder',
    'FrameDecoder',
    'FrameFeatures',
    'GivenMasks',
    'KeyEncoder',
    'MaskDecoder',
    'MergedStream',
    'ObjectTransformer',
    'PatchBackbone',
    'PatchDecoder',
    'PixelFuser',
    'PredictionDataPreprocessor',
    'PredictionLoss',
    'PredictionStream',
    'PresenceHead',
    'ReverseScheduledSampling',
    'STCNDecoder',
    'STCNValueEncoder',
    'STMDecoder',
    'STMValueEncoder',
    'ScheduledSampling',
    'SimVP',
    'TimmBackbone',
    'TokenClassifier',
    'VOSDataPreprocessor',
    'VOSStream',
    'VOSegmentor',
    'ValueEncoder',
    'VideoPredictor',
    'XMemDecoder',
    'aggregate',
    'fuse_conv_bn',
]
