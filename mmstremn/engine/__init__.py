"""mmengine's hooks and loops of this library, and what its tools share."""

from mmstremn.engine.bfloat16 import BFloat16OptimWrapper
from mmstremn.engine.hooks.activation_checkpointing import ActivationCheckpointingHook
from mmstremn.engine.hooks.checkpoint import AtomicCheckpointHook, CheckpointMatchHook
from mmstremn.engine.hooks.finite_loss import FiniteLossHook
from mmstremn.engine.hooks.learning import LearningCheckHook
from mmstremn.engine.hooks.schedules import ClipSkipHook, GumbelTemperatureHook, IterationHook
from mmstremn.engine.hooks.selector import SelectorStatisticsHook
from mmstremn.engine.hooks.visualization import (
    PredictionVisualizationHook,
    SlotTimelineHook,
    VOSVisualizationHook,
)
from mmstremn.engine.loops import SeekingIterTrainLoop
from mmstremn.utils.atomic import AtomicLocalBackend

__all__ = [
    'ActivationCheckpointingHook',
    'AtomicCheckpointHook',
    'AtomicLocalBackend',
    'BFloat16OptimWrapper',
    'CheckpointMatchHook',
    'ClipSkipHook',
    'FiniteLossHook',
    'GumbelTemperatureHook',
    'IterationHook',
    'LearningCheckHook',
    'PredictionVisualizationHook',
    'SeekingIterTrainLoop',
    'SelectorStatisticsHook',
    'SlotTimelineHook',
    'VOSVisualizationHook',
]
