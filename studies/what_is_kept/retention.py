"""What a memory of slots keeps: for how long it held each frame that it was offered, and what those frames
show."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import rankdata

TRAITS = {
    'novelty': 'novelty of looks',
    'turn': 'change of pose',
    'scale': 'change of scale',
    'blur': 'blur',
    'visible': 'visible share',
}


class Kept(NamedTuple):
    """How long offered frames were held.

    Attributes:
        frames: (N,) int, after how many frames it was held: 0 was not stored.
        censored: (N,) bool, held to the end of the video, so it might have been held for longer.
    """

    frames: np.ndarray
    censored: np.ndarray


def offered_frames(num_frames: int, every: int, first: int = 0) -> np.ndarray:
    """(N,) the frames that may be stored but need not be: every n-th after the ``first``, which is
    prompted."""
    return np.arange(first + every, num_frames, every)


def kept_frames(timeline: np.ndarray, offers: np.ndarray) -> Kept:
    """How long each of the offered frames was held.

    Args:
        timeline: (T, S) int, the frame that each slot holds after each frame, -1 where empty.
        offers: (N,) int, frames.
    """
    frames = np.array([(timeline == offer).any(1).sum() for offer in offers], dtype=int)
    return Kept(frames, np.isin(offers, timeline[-1]))


def observed(kept: Kept, offers: np.ndarray, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Which offers were seen for half of the video, and for how long at most so long they were held.

    Late frames are not held for long whatever they show: among those with as much time each nothing is
    censored.

    Returns:
        (N,) bool and (N,) int frames.
    """
    horizon = num_frames // 2
    return offers + horizon <= num_frames, np.minimum(kept.frames, horizon)


def trait_values(
    truths: dict[int, dict[int, dict]], timeline: np.ndarray, offers: np.ndarray
) -> dict[str, np.ndarray]:
    """What offered frames show beside what is held when they come.

    Args:
        truths: For the offers and all frames that are ever held, ``LongSyntheticVideo.truth``.
        timeline: (T, S) int, as in :func:`kept_frames`.
        offers: (N,) int, frames from 1 on.

    Returns:
        For each of ``TRAITS`` (N,) float, the mean over the objects that are seen and NaN if there is none:

        - ``novelty``: half the sum of absolute differences of the shares of the looks, to the nearest held
        frame (0..1),
        - ``turn``: angle to the nearest held frame in radians (0..pi),
        - ``scale``: absolute difference of the logarithm of the scale to the nearest held frame,
        - ``blur``: in pixels,
        - ``visible``: share of the picture, of all objects together; never NaN.
    """
    rows = [
        _traits(truths[offer], [truths[frame] for frame in _held(timeline, offer)])
        for offer in offers.tolist()
    ]
    return {name: np.array([row[name] for row in rows], dtype=float) for name in TRAITS}


def rank_correlation(groups: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float | None, int]:
    """Spearman's correlation with ranks taken within each group, so that differences between groups do not
    count.

    Args:
        groups: Pairs of (N,) values; pairs with a NaN are left out. One group gives the plain rank
            correlation.

    Returns:
        The correlation (None where one side is the same throughout), and the number of pairs.
    """
    firsts, seconds = [np.zeros(0)], [np.zeros(0)]
    for first, second in groups:
        known = ~(np.isnan(first) | np.isnan(second))
        firsts.append(_centred_ranks(first[known]))
        seconds.append(_centred_ranks(second[known]))
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return (float((first * second).sum() / norm) if norm > 1e-9 else None), len(first)


def draw_correlations(correlations: dict[str, dict[str, float | None]]) -> Figure:
    """Groups of bars, one for each trait, with a bar for every memory.

    Args:
        correlations: For each memory those with each trait, -1..1; None is no bar.
    """
    traits = list(next(iter(correlations.values())))
    figure = Figure(figsize=(9, 4), dpi=120, layout='constrained')
    axes = figure.subplots()
    width = 0.8 / len(correlations)
    for index, (memory, values) in enumerate(correlations.items()):
        heights = [np.nan if values[trait] is None else values[trait] for trait in traits]
        axes.bar(np.arange(len(traits)) - 0.4 + (index + 0.5) * width, heights, width, label=memory)
    axes.axhline(0, color='black', linewidth=0.8)
    axes.set(ylabel='Spearman, with frames kept', ylim=(-1, 1))
    axes.set_xticks(range(len(traits)), traits)
    axes.grid(axis='y', alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _held(timeline, offer):
    """Frames held when ``offer`` comes."""
    return [frame for frame in timeline[offer - 1].tolist() if frame >= 0]


def _traits(now, held):
    seen = {key: truth for key, truth in now.items() if truth['visible'] > 0}
    earlier = {key: [frame[key] for frame in held if frame[key]['visible'] > 0] for key in seen}
    return dict(
        novelty=_mean(_nearest(_look_difference, seen[key], earlier[key], unseen=1.0) for key in seen),
        turn=_mean(_nearest(_angle_difference, seen[key], earlier[key]) for key in seen),
        scale=_mean(_nearest(_scale_difference, seen[key], earlier[key]) for key in seen),
        blur=_mean(truth['blur'] for truth in seen.values()),
        visible=sum(truth['visible'] for truth in now.values()),
    )


def _nearest(difference, truth, others, unseen=np.nan):
    return min((difference(truth, other) for other in others), default=unseen)


def _look_difference(one, other):
    return 0.5 * np.abs(one['appearance'] - other['appearance']).sum()


def _angle_difference(one, other):
    return abs((one['angle'] - other['angle'] + np.pi) % (2 * np.pi) - np.pi)


def _scale_difference(one, other):
    return abs(np.log(one['scale'] / other['scale']))


def _mean(values):
    values = np.array(list(values), dtype=float)
    known = values[~np.isnan(values)]
    return known.mean() if known.size else np.nan


def _centred_ranks(values):
    ranks = rankdata(values) / max(len(values), 1)
    return ranks - ranks.mean() if len(values) else ranks
