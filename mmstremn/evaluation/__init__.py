"""Evaluation of video object segmentation: the DAVIS measures, the metric, and a baseline."""

from mmstremn.evaluation.baselines import copy_first_mask
from mmstremn.evaluation.davis_measures import boundary_f_measure, davis_statistics, region_similarity
from mmstremn.evaluation.davis_metric import DAVISMetric, score_table, write_pngs
from mmstremn.evaluation.video_scores import MEASURES, evaluate_video, global_measures

__all__ = [
    'MEASURES',
    'DAVISMetric',
    'boundary_f_measure',
    'copy_first_mask',
    'davis_statistics',
    'evaluate_video',
    'global_measures',
    'region_similarity',
    'score_table',
    'write_pngs',
]
