"""A read of a full memory beside bare attention of the same sizes.

The bare one is ``scaled_dot_product_attention`` of a query (1, 1, P, Ck) with keys (1, 1, S * P, Ck) and
values (1, 1, S * P, Cv): no L2, no usage of the slots, no empty slots. The two run in turns, in changing
order; the ratio is the median over the turns; its bound is 1.2.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from benchmarks.shared import Outcome, add_arguments as add_shared_arguments, device_of
from rich.console import Console

from mmstremn.memory import READERS, Entry, FIFOSelector, Query, SlotMemory
from mmstremn.utils.timing import describe_device, median_ratio, time_alternately

READER_BY_NAME = {cls.__name__: cls for cls in READERS}
MAX_RATIO = 1.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('--reader', default='DenseReader', choices=READER_BY_NAME)
    parser.add_argument('--slots', type=int, default=8, metavar='S')
    parser.add_argument('--grid', type=int, nargs=2, default=[30, 54], metavar=('h', 'w'))
    parser.add_argument('--key-channels', type=int, default=64, metavar='Ck')
    parser.add_argument('--value-channels', type=int, default=512, metavar='Cv')
    parser.add_argument('--objects', type=int, default=1, metavar='O', help='the bare values are O * Cv wide')
    parser.add_argument('--threads', type=int, nargs='+', metavar='N', help='of the CPU, in this order')
    add_shared_arguments(parser, turns=40)


def check_arguments(args: argparse.Namespace) -> None:
    """Nothing: every combination can be measured."""


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure with each number of threads, and print a line for each."""
    device, results = device_of(args), []
    with torch.no_grad():
        functions = make_functions(args, device)
        for threads in args.threads or [torch.get_num_threads()]:
            torch.set_num_threads(threads)
            result = measure(functions, args.turns, device)
            results.append(dict(threads=threads) | result)
            console.print(
                f'{describe_device(device)}: {args.reader} {result["read_ms"]:.2f} ms, '
                f'bare attention {result["bare_ms"]:.2f} ms, ratio {result["ratio"]:.3f} (median of '
                f'{args.turns} turns)',
                highlight=False,
                soft_wrap=True,
            )
    failures = [
        f'the ratio is {result["ratio"]:.3f} with {result["threads"]} threads, expected at most {MAX_RATIO}'
        for result in results
        if result['ratio'] > MAX_RATIO
    ]
    return Outcome(device.type, dict(results=results), failures)


def make_functions(args: argparse.Namespace, device: torch.device) -> dict[str, Callable]:
    """The read and the bare attention, ready to be called."""
    torch.manual_seed(args.seed)
    positions, width = args.grid[0] * args.grid[1], args.value_channels
    memory = SlotMemory(args.slots, FIFOSelector(), READER_BY_NAME[args.reader]()).eval()

    def entry() -> Entry:
        key = torch.randn(1, 1, positions, args.key_channels, device=device)
        return Entry(key, torch.randn(1, args.objects, positions, width, device=device), tuple(args.grid))

    state = memory.init(entry())
    for _ in range(args.slots):
        state = memory.write(state, entry())
    query = Query(torch.randn(1, positions, args.key_channels, device=device))
    q, k = query.key[:, None], state.key.flatten(2, 3).clone()
    v = state.value.permute(0, 2, 3, 1, 4).reshape(1, 1, -1, args.objects * width).clone()
    return dict(read=lambda: memory.read(state, query), bare=lambda: F.scaled_dot_product_attention(q, k, v))


def measure(functions: dict[str, Callable], turns: int, device: torch.device) -> dict:
    """Medians, their ratio and every turn."""
    times = time_alternately(functions, turns, device)
    return dict(
        {f'{name}_ms': statistics.median(values) for name, values in times.items()},
        ratio=median_ratio(times['read'], times['bare']),
        ms_per_turn={name: [round(value, 3) for value in values] for name, values in times.items()},
    )
