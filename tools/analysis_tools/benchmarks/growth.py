"""Speed and size of a memory as the video grows.

A stream of random frames runs to the last mark. Shortly before every mark it is forked, and the forks are
timed in turns afterwards, a few frames of one, the same number of the next, in changing order. Reported are
the medians over the turns; a ratio is the median over turns of last mark to first.

With ``--all-selectors`` all slot memories are measured, with ``--all-memories`` all others too. The bounds:
the last mark of a bounded memory exceeds the first by at most 2 % in bytes and 10 % in time.
"""

import argparse
import copy
import statistics

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
from mmengine.config import Config, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import init_segmentor
from mmstremn.engine.progress import StagedProgress
from mmstremn.memory import MEMORIES, SELECTORS
from mmstremn.models import VOSegmentor, VOSStream
from mmstremn.utils.shipped_files import find_config, read_config
from mmstremn.utils.timing import describe_device, elapsed, median_ratio, peak_resident_bytes, start_clock

SELECTOR_NAMES = [cls.__name__ for cls in SELECTORS]
MEMORY_NAMES = [cls.__name__ for cls in MEMORIES]
MAX_BYTES_RATIO, MAX_TIME_RATIO = 1.02, 1.10
OWN = 'config'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('config', help='config file of a VOSegmentor')
    parser.add_argument('--checkpoint', help="weights for the config's own memory (default: random weights)")
    parser.add_argument(
        '--frames', type=int, nargs='+', default=[50, 2000], metavar='N', help='marks, ascending'
    )
    add_size(parser)
    parser.add_argument('--objects', type=int, default=1, metavar='O')
    parser.add_argument(
        '--memories',
        nargs='+',
        default=[OWN],
        choices=[OWN, *SELECTOR_NAMES, *MEMORY_NAMES],
        metavar='NAME',
        help=f"'{OWN}' (default), the config's slots with another selector "
        f'({", ".join(SELECTOR_NAMES)}), or another memory ({", ".join(MEMORY_NAMES)})',
    )
    parser.add_argument('--all-selectors', action='store_true', help='all selectors instead of --memories')
    parser.add_argument(
        '--all-memories', action='store_true', help='all selectors and memories instead of --memories'
    )
    parser.add_argument(
        '--window', type=int, default=5, help='frames of a turn (STM and STCN store every 5th)'
    )
    add_model_arguments(parser, turns=40)


def check_arguments(args: argparse.Namespace) -> None:
    """Complete the arguments.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: An option is out of range, or does not go with another.
    """
    find_config(args.config)
    if args.all_memories:
        args.memories = SELECTOR_NAMES + MEMORY_NAMES
    elif args.all_selectors:
        args.memories = SELECTOR_NAMES
    if args.frames != sorted(set(args.frames)) or args.frames[0] <= args.window:
        raise ValueError(
            f'--frames: expected ascending numbers above --window ({args.window}), got {args.frames}'
        )
    check_objects([args.objects], args.size[1])
    if args.checkpoint and args.memories != [OWN]:
        raise ValueError(
            "--checkpoint fits the config's own memory only: leave the options that choose memories out"
        )


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure every memory, and print the table."""
    cfg, results = read_config(args.config, args.cfg_options), {}
    progress = StagedProgress(console)
    per_memory = args.frames[-1] + (args.turns + 1) * args.window * len(args.frames)
    with progress.running(per_memory * len(args.memories)):
        for name in args.memories:
            torch.manual_seed(args.seed)
            model = init_segmentor(with_memory(cfg, name), args.checkpoint, args.device)
            with progress.stage(name) as report:
                results[name] = measure(model, args, report)
    device = describe_device(next(model.parameters()).device)
    console.print(result_table(results, args, device))
    return Outcome(device, dict(results=results), grown(results))


def with_memory(cfg: Config, name: str) -> Config:
    """The config with the memory that ``name`` says."""
    cfg = copy.deepcopy(cfg)
    if name in SELECTOR_NAMES:
        slots = cfg.model.memory if cfg.model.memory.type == 'SlotMemory' else ConfigDict(type='SlotMemory')
        cfg.model.memory = ConfigDict(slots, selector=dict(type=name))
    elif name in MEMORY_NAMES:
        cfg.model.memory = ConfigDict(type=name)
    return cfg


def measure(model: VOSegmentor, args: argparse.Namespace, report) -> dict:
    """All figures of one memory."""
    device = next(model.parameters()).device
    rng = np.random.default_rng(args.seed)
    forks, marks, stream, previous = [], [], None, 0
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    begin = start_clock(device)
    for mark in args.frames:
        for _ in range(previous, mark - args.window):
            stream = advance(model, stream, random_frame(rng, args.size), args.objects)
            report(1)
        forks.append(fork(stream, 'cpu'))
        for _ in range(mark - args.window, mark):
            advance(model, stream, random_frame(rng, args.size), args.objects)
            report(1)
        previous = mark
        marks.append(dict(frame=mark, state_bytes=stream.state.nbytes, peak_memory_bytes=peak_memory(device)))
    seconds, stream = elapsed(begin, device), None
    frames = [random_frame(rng, args.size) for _ in range(args.window)]
    turns = time_in_turns(forks, frames, args.turns, device, report)
    for mark, milliseconds in zip(marks, turns, strict=True):
        mark['ms_per_frame'] = statistics.median(milliseconds)
        mark['frames_per_second'] = 1000 / mark['ms_per_frame']
        mark['ms_per_turn'] = [round(value, 3) for value in milliseconds]
    return dict(
        marks=marks,
        bytes_ratio=marks[-1]['state_bytes'] / marks[0]['state_bytes'],
        time_ratio=median_ratio(turns[-1], turns[0]),
        fixed=model.memory.bounded,
        seconds_of_the_whole_video=round(seconds, 1),
    )


def advance(model: VOSegmentor, stream: VOSStream | None, frame: np.ndarray, objects: int) -> VOSStream:
    """The stream after one more frame."""
    if stream is None:
        return begin_stream(model, frame, objects)
    stream.step(frame)
    return stream


def fork(stream: VOSStream, device: torch.device | str) -> VOSStream:
    """A stream that goes on alone, its state on ``device`` (it must be the model's before the next step)."""
    stream = copy.copy(stream)
    stream.state = stream.state.clone().to(device)
    return stream


def time_in_turns(
    forks: list[VOSStream], frames: list[np.ndarray], turns: int, device: torch.device, report
) -> list[list[float]]:
    """Milliseconds a frame, (marks, turns), without a first turn. Each turn begins at the same state."""
    times = [[] for _ in forks]
    for turn in range(turns + 1):
        for place in range(len(forks))[:: -1 if turn % 2 else 1]:
            stream = fork(forks[place], device)
            stream.step(frames[0])  # after a copy the caches are not what they are in a running stream
            begin = start_clock(device)
            for frame in frames:
                stream.step(frame)
            milliseconds = 1000 * elapsed(begin, device) / len(frames)
            if turn:
                times[place].append(milliseconds)
            report(len(frames))
    return times


def peak_memory(device: torch.device) -> int:
    """Most bytes allocated on the GPU since the stream began, or held by the process so far."""
    return torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else peak_resident_bytes()


def grown(results: dict) -> list[str]:
    """A line for each bound that a bounded memory exceeds."""
    lines = []
    for name, result in results.items():
        for what, bound in (('bytes', MAX_BYTES_RATIO), ('time', MAX_TIME_RATIO)):
            ratio = result[f'{what}_ratio']
            if result['fixed'] and ratio > bound:
                lines.append(
                    f'{name}: {what} of last mark / first mark is {ratio:.3f}, expected at most {bound}'
                )
    return lines


def result_table(results: dict, args: argparse.Namespace, device: str) -> Table:
    """A row for every memory and mark."""
    table = Table(
        title=f'{args.size[0]} x {args.size[1]}, {args.objects} object(s), {device}', box=box.SIMPLE_HEAD
    )
    table.add_column('memory', no_wrap=True)
    for name in ('frame', 'ms a frame', 'fps', 'state MB', 'peak MB', 'time ratio', 'bytes ratio'):
        table.add_column(name, justify='right')
    for name, result in results.items():
        for mark in result['marks']:
            is_last = mark is result['marks'][-1]
            ratios = [f'{result[key]:.3f}' if is_last else '' for key in ('time_ratio', 'bytes_ratio')]
            sizes = [f'{mark["state_bytes"] / 1e6:.3f}', f'{mark["peak_memory_bytes"] / 1e6:.0f}']
            speed = [f'{mark["ms_per_frame"]:.2f}', f'{mark["frames_per_second"]:.1f}']
            table.add_row(name, str(mark['frame']), *speed, *sizes, *ratios, end_section=is_last)
    return table
