"""Models ready for use in a few lines."""

from mmstremn.apis.inference import init_predictor, init_segmentor
from mmstremn.apis.model_names import NamedModel, named_models
from mmstremn.apis.outputs import DEFAULT_OUTPUTS, OUTPUTS, OutputInfo, open_outputs, write_outputs
from mmstremn.apis.plan import Plan
from mmstremn.apis.prediction_inferencer import PredictedFrame, PredictionInferencer
from mmstremn.apis.results import FrameResult
from mmstremn.apis.session import VOSSession
from mmstremn.apis.vos_inferencer import VOSInferencer

__all__ = [
    'DEFAULT_OUTPUTS',
    'OUTPUTS',
    'FrameResult',
    'NamedModel',
    'OutputInfo',
    'Plan',
    'PredictedFrame',
    'PredictionInferencer',
    'VOSInferencer',
    'VOSSession',
    'init_predictor',
    'init_segmentor',
    'named_models',
    'open_outputs',
    'write_outputs',
]
