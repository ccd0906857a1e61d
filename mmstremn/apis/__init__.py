"""Models ready for use in a few lines."""

from mmstremn.apis.inference import init_predictor, init_segmentor
from mmstremn.apis.named_models import NamedModel, named_models
from mmstremn.apis.plan import Plan
from mmstremn.apis.results import FrameResult
from mmstremn.apis.session import VOSSession
from mmstremn.apis.vos_inferencer import VOSInferencer

__all__ = [
    'FrameResult',
    'NamedModel',
    'Plan',
    'VOSInferencer',
    'VOSSession',
    'init_predictor',
    'init_segmentor',
    'named_models',
]
