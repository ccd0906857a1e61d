"""Which frames of a video a clip can begin with."""

import logging
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

from mmstremn.datasets.prediction.clips import ClipFormat, Clips, FixedWindows, RandomWindows
from mmstremn.datasets.prediction.sources import FrameSource


def make_windows(
    sources: Sequence[FrameSource],
    clip_format: ClipFormat,
    random: bool,
    strides: Sequence[int] | None = None,
) -> Clips:
    """The clips of some videos, each of which must hold one.

    Args:
        sources: The videos.
        clip_format: How frames become a clip.
        random: Clips that begin anywhere, for training; else fixed clips, spaced by ``strides``.
        strides: For each video the least distance of two fixed clips in frame numbers; by default a clip's
            span.

    Raises:
        ValueError: A video is too short for a clip; the message names it.
    """
    starts = [check_starts(source, clip_format) for source in sources]
    if random:
        return RandomWindows(sources, starts, clip_format)
    strides = strides or [clip_format.length * clip_format.step] * len(starts)
    spaced = [space_from_end(some, stride) for some, stride in zip(starts, strides, strict=True)]
    windows = [(place, start) for place, some in enumerate(spaced) for start in some]
    return FixedWindows(sources, windows, clip_format)


def drop_short(sources: Sequence[FrameSource], clip_format: ClipFormat) -> list[FrameSource]:
    """The videos that hold a clip; a warning says how many do not.

    Raises:
        ValueError: None does; the message names the first.
    """
    long_enough = [
        source for source in sources if len(find_starts(source.numbers, clip_format.length, clip_format.step))
    ]
    if sources and not long_enough:
        check_starts(sources[0], clip_format)
    if len(long_enough) < len(sources):
        short = next(source for source in sources if source not in long_enough)
        print_log(
            f'{len(sources) - len(long_enough)} of {len(sources)} videos hold no clip of '
            f'{clip_format.length} frames '
            f'{clip_format.step} apart and are left out, the first is {short.path}',
            logger='current',
            level=logging.WARNING,
        )
    return long_enough


def check_starts(source: FrameSource, clip_format: ClipFormat) -> np.ndarray:
    """:func:`find_starts`, and a ValueError that names the video where there are none."""
    starts = find_starts(source.numbers, clip_format.length, clip_format.step)
    if not len(starts):
        raise ValueError(
            f'{source.path}: {len(source.numbers)} frames, expected at least {clip_format.length} in a row '
            f'{clip_format.step} apart, the input and output frames of one clip'
        )
    return starts


def find_starts(numbers: np.ndarray, length: int, step: int = 1) -> np.ndarray:
    """Those of the frame ``numbers`` n, ascending, for which n + ``step``, ... n + (``length`` - 1) ``step``
    exist too."""
    if not len(numbers):
        return numbers
    starts = numbers[: np.searchsorted(numbers, numbers[-1] - (length - 1) * step, side='right')]
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return starts
    for ahead in range(step, length * step, step):
        starts = starts[np.isin(starts + ahead, numbers, assume_unique=True)]
    return starts


def space_from_end(starts: np.ndarray, stride: int) -> list[int]:
    """Some of the ascending ``starts``, at least ``stride`` apart, ascending; the last is always among them.

    Going from the end is what PredRNN's and OpenSTL's KTH loaders do (thuml/predrnn-pytorch
    core/data_provider/kth_action.py), so their clips are found again.
    """
    spaced = []
    for start in starts[::-1].tolist():
        if not spaced or spaced[-1] - start >= stride:
            spaced.append(start)
    return spaced[::-1]
