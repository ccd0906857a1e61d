"""Time a frame against the number of objects: ``python tools/analysis_tools/benchmark_objects.py CONFIG``.

A stream of random frames for each number of objects; the streams are timed in turns, in changing order.
Reported are the medians over the turns, of whole frames and of their steps: encode (backbone and key), read,
decode, value and write; rest is what is around them (the frame on its way in, the ids on their way out). The
ratio is the median over the turns of the last number of objects to the first. With ``--check`` the exit code
is 1 where it exceeds 1.9, the bound for 8 against 4.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.matching import without_backbone_weights
from mmstremn.models import VOSegmentor, VOSStream
from mmstremn.utils.timing import (
    command_line,
    describe_device,
    elapsed,
    median_ratio,
    save_figures,
    start_clock,
    time_alternately,
)

MAX_RATIO = 1.9
STEPS = ('encode', 'read', 'decode', 'value', 'write', 'rest')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Time a frame against the number of objects')
    parser.add_argument('config', help='config file of a VOSegmentor; its weights are not loaded')
    parser.add_argument('--objects', type=int, nargs='+', default=[4, 8], metavar='O')
    parser.add_argument(
        '--size', type=int, nargs=2, default=[240, 427], metavar=('H', 'W'), help='of the frames'
    )
    parser.add_argument(
        '--warm-up', type=int, default=8, help='frames before the first turn: they fill the memory'
    )
    parser.add_argument('--window', type=int, default=2, help='frames of a turn')
    parser.add_argument('--turns', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument(
        '--check', action='store_true', help=f'exit with 1 where the ratio exceeds {MAX_RATIO}'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    args.command = command_line('tools/analysis_tools/benchmark_objects.py', argv)
    if not all(1 <= number <= min(254, args.size[1] - 1) for number in args.objects):
        parser.error(f'--objects: expected numbers in 1..{min(254, args.size[1] - 1)}, got {args.objects}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    cfg.model = without_backbone_weights(cfg.model)
    torch.manual_seed(args.seed)
    model = init_segmentor(cfg, device=args.device)
    result = measure(model, args)
    device = describe_device(next(model.parameters()).device)
    Console(file=sys.stdout).print(result_table(result, args, device))
    save_figures(
        args, device, ('command', 'config', 'objects', 'size', 'warm_up', 'window', 'turns', 'seed'), result
    )
    return int(args.check and result['ratio'] > MAX_RATIO)


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
    frames = [rng.integers(0, 256, (*args.size, 3), dtype=np.uint8) for _ in range(args.window)]
    streams = {number: begin_stream(model, number, frames, args) for number in args.objects}

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


def begin_stream(
    model: VOSegmentor, objects: int, frames: list[np.ndarray], args: argparse.Namespace
) -> VOSStream:
    """A stream past its warm-up; the first frame's masks are ``objects`` upright stripes."""
    stripes = np.arange(args.size[1]) * (objects + 1) // args.size[1]
    stream = model.start(frames[0], np.broadcast_to(stripes.astype(np.uint8), tuple(args.size)))
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


if __name__ == '__main__':
    sys.exit(main())
