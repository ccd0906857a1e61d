"""Time several videos at once on one model, against one after the other.

Whole videos go through ``VOSInferencer``, with everything that it does for a frame, with ``batch_size`` 1 and
with all at once; both take turns, in changing order. The videos are smooth pictures that move to the right,
with one object.
"""

import argparse
from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
import torch
from benchmarks.shared import Outcome, add_arguments as add_common
from rich.console import Console

from mmstremn.apis import VOSInferencer, named_models
from mmstremn.apis.vos_inferencer import PRECISIONS
from mmstremn.datasets.io.frame_sources import ArrayVideo
from mmstremn.utils.timing import describe_device, median_ratio, time_alternately

LEAST_GAIN = 1.3
SIZES = (240, 432), (480, 856)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('--model', default='stremn_r18', choices=list(named_models()))
    parser.add_argument('--videos', type=int, nargs='+', default=[2, 4], metavar='N', help='at once')
    parser.add_argument('--rows', type=int, nargs='+', default=[240, 480], choices=[240, 480])
    parser.add_argument('--frames', type=int, default=8, help='of a video')
    parser.add_argument('--threads', type=int, nargs='+', default=[2, 1], help='of PyTorch')
    parser.add_argument('--precision', default='auto', choices=PRECISIONS, help='as of VOSInferencer')
    add_common(parser, turns=5)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        ValueError: Fewer than two videos or frames.
    """
    if min(args.videos) < 2 or args.frames < 2:
        raise ValueError('--videos, --frames: expected at least 2')


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print a line for each size, number of videos and of threads."""
    before = torch.get_num_threads()
    inferencer = VOSInferencer(args.model, device=args.device, precision=args.precision)
    device = describe_device(next(inferencer.model.parameters()).device)
    results = []
    for rows in args.rows:
        size = next(size for size in SIZES if size[0] == rows)
        for number in args.videos:
            for threads in args.threads:
                torch.set_num_threads(threads)
                results.append(measure(inferencer, size, number, args) | dict(threads=threads))
                console.print(told(results[-1]))
    torch.set_num_threads(before)
    failures = [
        f'{told(result)}, expected {LEAST_GAIN} x'
        for result in results
        if result['threads'] > 1 and result['gain'] < LEAST_GAIN
    ]
    return Outcome(device, dict(computed_in=inferencer.model.precision, results=results), failures)


def told(result: dict) -> str:
    """A result in a line."""
    return (
        f'{result["size"][0]} x {result["size"][1]}, {result["videos"]} videos, {result["threads"]} threads: '
        f'{result["gain"]:.2f} x the frames a second'
    )


def measure(inferencer: VOSInferencer, size: tuple[int, int], number: int, args: argparse.Namespace) -> dict:
    """Milliseconds a frame of both in each turn, the median ratio, and how far results are apart."""
    videos = [
        ArrayVideo(np.stack([*moving_picture(size, args.frames, args.seed + k)]), f'video{k}')
        for k in range(number)
    ]
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 1
    found = {}

    def segment(name: str, batch_size: int) -> None:
        results = inferencer(videos, [mask] * number, batch_size=batch_size)
        found[name] = {(result.video, result.index): result.confidence[1] for result in results}

    functions = {
        'one_after_the_other': partial(segment, 'one_after_the_other', 1),
        'at_once': partial(segment, 'at_once', number),
    }
    turns = time_alternately(functions, args.turns, next(inferencer.model.parameters()).device)
    frames = number * args.frames
    return dict(
        size=list(size),
        videos=number,
        gain=median_ratio(turns['one_after_the_other'], turns['at_once']),
        confidence_difference=max(
            abs(sure - found['at_once'][frame]) for frame, sure in found['one_after_the_other'].items()
        ),
        ms_per_frame={name: [round(value / frames, 1) for value in values] for name, values in turns.items()},
    )


def moving_picture(size: tuple[int, int], frames: int, seed: int) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8."""
    noise = np.random.default_rng(seed).random((8, 8, 3), np.float32)
    picture = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return (np.roll((picture * 255).astype(np.uint8), 3 * index, 1) for index in range(frames))
