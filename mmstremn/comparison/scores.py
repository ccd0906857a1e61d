"""What a row of a comparison is measured by: the scores of every metric, and the columns that show them."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmstremn.evaluation.prediction_metric import COPY_LAST


class Column(NamedTuple):
    """A column: its title, and for numbers what they are multiplied with and their decimals (None: four
    digits in all)."""

    title: str
    scale: float | None = None
    decimals: int | None = 0

    def text(self, value) -> str:
        """A cell; '-' where there is nothing, which the sorting of the HTML table takes for an empty
        number."""
        if value is None or value != value:
            return '-'
        if self.scale is None:
            return str(value)
        return (
            f'{self.scale * value:.4g}'
            if self.decimals is None
            else f'{self.scale * value:.{self.decimals}f}'
        )


class Scores(NamedTuple):
    """What a metric gives to a row.

    Attributes:
        columns: The scores that are compared; a metric may be told to leave some out.
        main: The one that decides the order, the highest first.
        unit: Of the scores, for titles.
        read: The row's scores in what the metric wrote to its ``out_file``.
        memory_file: The memories that are compared by default.
    """

    columns: dict[str, Column]
    main: str
    unit: str
    read: Callable[[dict], dict]
    memory_file: str


def read_segmentation(written: dict) -> dict:
    """J, F and J&F, that of every video, and the costs."""
    metrics, videos = written['metrics'], written['videos']
    scores = {'J': metrics['J-Mean'], 'F': metrics['F-Mean'], 'J&F': metrics['J&F']}
    return scores | dict(videos={video['name']: video['mean']['J&F'] for video in videos}) | costs(videos)


def read_prediction(written: dict) -> dict:
    """All means, those of every frame of the horizon, the PSNR of every clip, and the costs."""
    clips = written['clips']
    about = dict(protocol=written['protocol'], per_frame=written['per_frame'])
    psnr = {clip['name']: float(np.mean(clip['frames']['PSNR'])) for clip in clips}
    return written['metrics'] | about | dict(videos=psnr) | costs(clips)


def costs(videos: list[dict]) -> dict:
    """Median ms a frame and largest bytes of the state, of videos with ``fps`` and ``state_bytes``."""
    return dict(
        ms_per_frame=round(statistics.median(1000 / video['fps'] for video in videos), 3),
        state_bytes=max(video['state_bytes'] for video in videos),
    )


SCORES = {
    'DAVISMetric': Scores(
        {'J': Column('J', 100, 1), 'F': Column('F', 100, 1), 'J&F': Column('J&F', 100, 1)},
        main='J&F',
        unit='J and F in percent',
        read=read_segmentation,
        memory_file=str(Path('configs/_base_/memories.py')),
    ),
    'VideoPredictionMetric': Scores(
        {
            'PSNR': Column('PSNR', 1, 2),
            'SSIM': Column('SSIM', 1, 4),
            'MSE': Column('MSE', 1, None),
            'MAE': Column('MAE', 1, None),
            'LPIPS': Column('LPIPS', 1, 4),
            f'{COPY_LAST}/PSNR': Column('copy-last PSNR', 1, 2),
            'PSNR_returned': Column('returned', 1, 2),
            f'{COPY_LAST}/PSNR_returned': Column('copy-last returned', 1, 2),
        },
        main='PSNR',
        unit='PSNR in dB',
        read=read_prediction,
        memory_file=str(Path('configs/_base_/prediction/memories.py')),
    ),
}
"""By the name of the metric's class."""


def scores_of(rows: list[dict]) -> Scores:
    """Of the metric that made the rows of one comparison; those written before there were several have no
    ``metric``."""
    return SCORES[rows[0].get('metric', 'DAVISMetric')]


def compared_scores(row: dict) -> dict[str, Column]:
    """Those that a row has."""
    return {name: column for name, column in scores_of([row]).columns.items() if name in row}
