"""Time a frame against the number of objects.

A stream of random frames for each number of objects; the streams are timed in turns, in changing order.
Reported are the medians over the turns, of whole frames and of their steps: encode (backbone and key), read,
decode, value and write; rest is what is around them (the frame on its way in, the ids on their way out). The
ratio is the median over the turns of the last number of objects to the first; its bound, 1.9, is for 8
against 4.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from benchmarks.shared import (
    Outcome,
    add_model_arguments,
    add_size,
    begin_stream,
    check_objects,
    random_frame,
)
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.matching import without_backbone_weights
from mmstremn.models import VOSegmentor, VOSStream
from mmstremn.utils.shipped_files import find_config, read_config
from mmstremn.utils.timing import describe_device, elapsed, median_ratio, start_clock, time_alternately

MAX_RATIO = 1.9
STEPS = ('encode', 'read', 'decode', 'value', 'write', 'rest')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('config', help='config file of a VOSegmentor; its weights are not loaded')
    parser.add_argument('--objects', type=int, nargs='+', default=[4, 8], metavar='O')
    add_size(parser)
    parser.add_argument(
        '--warm-up', type=int, default=8, help='frames before the first turn: they fill the memory'
    )
    parser.add_argument('--window', type=int, default=2, help='frames of a turn')
    add_model_arguments(parser, turns=20)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: A number of objects is out of range.
    """
    find_config(args.config)
    check_objects(args.objects, args.size[1])


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print the table."""
    cfg = read_config(args.config, args.cfg_options)
    cfg.model = without_backbone_weights(cfg.model)
    torch.manual_seed(args.seed)
    model = init_segmentor(cfg, device=args.device)
    result = measure(model, args)
    device = describe_device(next(model.parameters()).device)
    console.print(result_table(result, args, device))
    failure = f'the ratio is {result["ratio"]:.3f}, expected at most {MAX_RATIO}'
    return Outcome(device, result, [failure] if result['ratio'] > MAX_RATIO else [])


class StepClock:
    """Times the steps of a model's frames while it is entered; it waits for the device after each.

    Args:
        model: Whose methods are wrapped.

    Attributes:
        milliseconds: By step, summed since ``milliseconds.clear()``.
    """

    def __init__(self, model: VOSegmentor):
        self.device = next(model.parameters()).device
        self.milliseconds = defaultdict(float)
        self.methods = dict(
            encode=(model, 'encode_frame'),
            read=(model.memory, 'read'),
            decode=(model, 'decode'),
            value=(model, 'encode_value'),
            write=(model.memory, 'write'),
        )

    def __enter__(self) -> 'StepClock':
        for step, (owner, name) in self.methods.items():
            setattr(owner, name, self._timed(step, getattr(owner, name)))
        return self

    def __exit__(self, *_) -> None:
        for owner, name in self.methods.values():
            delattr(owner, name)  # the class's method is back

    def _timed(self, step: str, method: Callable) -> Callable:
        def timed(*args, **kwargs):
            begin = start_clock(self.device)
            result = method(*args, **kwargs)
            self.milliseconds[step] += 1000 * elapsed(begin, self.device)
            return result

        return timed


def measure(model: VOSegmentor, args: argparse.Namespace) -> dict:
    """All figures; times are milliseconds a frame."""
    device = next(model.parameters()).device
    rng = np.random.default_rng(args.seed)
    frames = [random_frame(rng, args.size) for _ in range(args.window)]
    streams = {number: warmed_up(model, number, frames, args) for number in args.objects}

    def run(number: int) -> None:
        for frame in frames:
            streams[number].step(frame)

    turns = time_alternately({number: partial(run, number) for number in streams}, args.turns, device)
    steps = {number: [] for number in streams}
    with StepClock(model) as clock:
        for _ in range(args.turns):
            for number, rows in steps.items():
                clock.milliseconds.clear()
                begin = start_clock(device)
                run(number)
                rest = 1000 * elapsed(begin, device) - sum(clock.milliseconds.values())
                rows.append(clock.milliseconds | dict(rest=rest))
    results = [
        dict(
            objects=number,
            ms_per_frame=statistics.median(turns[number]) / args.window,
            ms_per_step={
                step: statistics.median(row[step] for row in steps[number]) / args.window for step in STEPS
            },
            ms_per_turn=[round(value, 3) for value in turns[number]],
        )
        for number in streams
    ]
    return dict(results=results, ratio=median_ratio(turns[args.objects[-1]], turns[args.objects[0]]))


def warmed_up(
    model: VOSegmentor, objects: int, frames: list[np.ndarray], args: argparse.Namespace
) -> VOSStream:
    """A stream past its warm-up."""
    stream = begin_stream(model, frames[0], objects)
    for index in range(args.warm_up):
        stream.step(frames[index % len(frames)])
    return stream


def result_table(result: dict, args: argparse.Namespace, device: str) -> Table:
    """A row for every number of objects, and one of ratios."""
    first, last = result['results'][0], result['results'][-1]
    table = Table(title=f'ms a frame of {args.size[0]} x {args.size[1]}, {device}', box=box.SIMPLE_HEAD)
    table.add_column('objects')
    for name in ('frame', *STEPS):
        table.add_column(name, justify='right')
    for row in result['results']:
        cells = [row['ms_per_frame'], *(row['ms_per_step'][step] for step in STEPS)]
        table.add_row(str(row['objects']), *(f'{cell:.1f}' for cell in cells), end_section=row is last)
    ratios = [result['ratio'], *(last['ms_per_step'][step] / first['ms_per_step'][step] for step in STEPS)]
    table.add_row(f'{last["objects"]} / {first["objects"]}', *(f'{ratio:.2f}' for ratio in ratios))
    return table
