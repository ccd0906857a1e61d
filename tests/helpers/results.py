"""The committed result files: logs, leaderboards, results of studies."""

import json
import statistics
from functools import cache

from helpers.runs import ROOT

LOGS, BOARDS = 'results/logs', 'results/leaderboards'
SHIPPED = 'shipped_stremn_val10_480'
MEASURES = ('J-Mean', 'F-Mean', 'J&F')


@cache
def load(path: str):
    """A JSON file of the repository."""
    return json.loads((ROOT / path).read_text())


def log(name: str):
    """The log of a test or a benchmark."""
    return load(f'{LOGS}/{name}.json')


def score(name: str) -> float:
    """J&F of a test."""
    return log(name)['metrics']['J&F']


def measures(name: str) -> list[float]:
    """J, F and J&F of a test."""
    return [log(name)['metrics'][measure] for measure in MEASURES]


def absences(videos: list[dict]) -> list[dict]:
    """For each object that is away in some frames of a video: how many, the false alarms among them, and the
    frames after a return with the sum of their J&F."""
    objects = [found for video in videos for found in video['objects'].values()]
    return [found['absence'] for found in objects if found.get('absence')]


def alarms_of(videos: list[dict]) -> tuple[int, int]:
    """Frames without their object, and the false alarms among them."""
    found = absences(videos)
    return sum(one['absent'] for one in found), sum(one['alarms'] for one in found)


def after_return(videos: list[dict]) -> float:
    """J&F of the frames after a return."""
    found = absences(videos)
    return sum(one['returned_sum'] for one in found) / sum(one['returned'] for one in found)


def mean_score(videos: list[dict]) -> float:
    """The mean J&F of some videos."""
    return statistics.mean(video['mean']['J&F'] for video in videos)


def videos_of_both(one: str, other: str) -> list[dict]:
    """The videos of the first log that the other has too."""
    names = {video['name'] for video in log(other)['videos']}
    return [video for video in log(one)['videos'] if video['name'] in names]


class Board:
    """The rows of a leaderboard.

    Args:
        folder: Of the repository; it has a ``leaderboard.json``.
    """

    def __init__(self, folder: str):
        self.rows = load(f'{folder}/leaderboard.json')['rows']

    def of(self, memory: str) -> list[dict]:
        """The rows of a memory, one a seed."""
        rows = [row for row in self.rows if row['memory'] == memory]
        assert rows, f'no row of {memory}'
        return rows

    def __call__(self, memory: str, measure: str = 'J&F') -> float:
        """The mean over seeds."""
        return statistics.mean(row[measure] for row in self.of(memory))

    def spread(self, memory: str, measure: str = 'J&F') -> tuple[float, float]:
        """Mean and standard deviation over seeds."""
        figures = [row[measure] for row in self.of(memory)]
        return statistics.mean(figures), statistics.stdev(figures)

    def video(self, memory: str, words: str, seed: int | None = None) -> float:
        """J&F of the videos whose name holds ``words``, the mean over them and over the seeds."""
        rows = [row for row in self.of(memory) if seed in (None, row['seed'])]
        figures = [figure for row in rows for name, figure in row['videos'].items() if words in name]
        return statistics.mean(figures)

    def megabytes(self, memory: str) -> float:
        """Bytes of the state at the end, in MB."""
        return self(memory, 'state_bytes') / 1e6

    def frames(self, memory: str, first: int, last: int) -> float:
        """PSNR in dB of predicted frames ``first`` to ``last``, counted from 1."""
        return statistics.mean(
            figure for row in self.of(memory) for figure in row['per_frame']['PSNR'][first - 1 : last]
        )
