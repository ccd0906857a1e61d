"""Evaluation: measures, metric and baseline of video object segmentation, and the metrics of actions and of
prediction."""

from mmstremn.evaluation.absence import absence_measures
from mmstremn.evaluation.baselines import copy_first_mask
from mmstremn.evaluation.clip_accuracy import ClipAccuracy
from mmstremn.evaluation.davis_measures import boundary_f_measure, davis_statistics, region_similarity
from mmstremn.evaluation.davis_metric import DAVISMetric, score_table, write_pngs
from mmstremn.evaluation.mask_folders import score_mask_folders
from mmstremn.evaluation.prediction_measures import PROTOCOLS, measure_frames
from mmstremn.evaluation.prediction_metric import VideoPredictionMetric
from mmstremn.evaluation.video_scores import MEASURES, evaluate_video, global_measures
from mmstremn.evaluation.youtube_vos_metric import YouTubeVOSMetric

__all__ = [
    'MEASURES',
    'PROTOCOLS',
    'ClipAccuracy',
    'DAVISMetric',
    'VideoPredictionMetric',
    'YouTubeVOSMetric',
    'absence_measures',
    'boundary_f_measure',
    'copy_first_mask',
    'davis_statistics',
    'evaluate_video',
    'global_measures',
    'measure_frames',
    'region_similarity',
    'score_mask_folders',
    'score_table',
    'write_pngs',
]
