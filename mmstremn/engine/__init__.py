"""mmengine's hooks and loops of this library, and what its tools share."""

from mmstremn.engine.activation_checkpointing import ActivationCheckpointingHook
from mmstremn.engine.atomic import AtomicLocalBackend
from mmstremn.engine.bfloat16 import BFloat16OptimWrapper
from mmstremn.engine.checkpoint import AtomicCheckpointHook, CheckpointMatchHook
from mmstremn.engine.finite_loss_hook import FiniteLossHook
from mmstremn.engine.loops import SeekingIterTrainLoop
from mmstremn.engine.schedule_hooks import ClipSkipHook, GumbelTemperatureHook
from mmstremn.engine.selector_hooks import SelectorStatisticsHook
from mmstremn.engine.visualization_hooks import PredictionVisualizationHook, SlotTimelineHook, VOSVisualizationHook

__all__ = [
    'ActivationCheckpointingHook',
    'AtomicCheckpointHook',
    'AtomicLocalBackend',
    'BFloat16OptimWrapper',
    'CheckpointMatchHook',
    'ClipSkipHook',
    'FiniteLossHook',
    'GumbelTemperatureHook',
    'PredictionVisualizationHook',
    'SeekingIterTrainLoop',
    'SelectorStatisticsHook',
    'SlotTimelineHook',
    'VOSVisualizationHook',
]
