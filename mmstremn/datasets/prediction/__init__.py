"""Data sets of video prediction."""

from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.folder_video import FolderVideoDataset
from mmstremn.datasets.prediction.human36m import Human36MDataset
from mmstremn.datasets.prediction.kth import KTHDataset
from mmstremn.datasets.prediction.moving_digits import MovingDigitsDataset
from mmstremn.datasets.prediction.moving_mnist import MovingMNISTDataset
from mmstremn.datasets.prediction.occluded_digits import OccludedDigitsDataset

__all__ = [
    'FolderVideoDataset',
    'Human36MDataset',
    'KTHDataset',
    'MovingDigitsDataset',
    'MovingMNISTDataset',
    'OccludedDigitsDataset',
    'PredictionDataset',
]
