"""A read of a full memory beside bare attention of the same sizes: ``python
tools/analysis_tools/benchmark_read.py``.

The bare one is ``scaled_dot_product_attention`` of a query (1, 1, P, Ck) with keys (1, 1, S * P, Ck) and
values (1, 1, S * P, Cv): no L2, no usage of the slots, no empty slots. The two run in turns, in changing
order; the ratio is the median over the turns. With ``--check`` the exit code is 1 where it exceeds 1.2.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from mmstremn.memory import READERS, Entry, FIFOSelector, Query, SlotMemory
from mmstremn.utils.timing import command_line, describe_device, median_ratio, save_figures, time_alternately

READER_BY_NAME = {cls.__name__: cls for cls in READERS}
MAX_RATIO = 1.2


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='A read of a full memory beside bare attention of the same sizes'
    )
    parser.add_argument('--reader', default='DenseReader', choices=READER_BY_NAME)
    parser.add_argument('--slots', type=int, default=8, metavar='S')
    parser.add_argument('--grid', type=int, nargs=2, default=[30, 54], metavar=('h', 'w'))
    parser.add_argument('--key-channels', type=int, default=64, metavar='Ck')
    parser.add_argument('--value-channels', type=int, default=512, metavar='Cv')
    parser.add_argument('--objects', type=int, default=1, metavar='O', help='the bare values are O * Cv wide')
    parser.add_argument('--turns', type=int, default=40)
    parser.add_argument('--threads', type=int, nargs='+', metavar='N', help='of the CPU, in this order')
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--check', action='store_true', help=f'exit with 1 where the ratio exceeds {MAX_RATIO}'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    args = parser.parse_args(argv)
    args.command = command_line('tools/analysis_tools/benchmark_read.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    results = []
    with torch.no_grad():
        functions = make_functions(args, device)
        for threads in args.threads or [torch.get_num_threads()]:
            torch.set_num_threads(threads)
            result = measure(functions, args.turns, device)
            results.append(dict(threads=threads) | result)
            print(
                f'{describe_device(device)}: {args.reader} {result["read_ms"]:.2f} ms, '
                f'bare attention {result["bare_ms"]:.2f} ms, ratio {result["ratio"]:.3f} (median of '
                f'{args.turns} turns)'
            )
    options = (
        'command',
        'reader',
        'slots',
        'grid',
        'key_channels',
        'value_channels',
        'objects',
        'turns',
        'seed',
    )
    save_figures(args, device.type, options, dict(results=results))
    return int(args.check and any(result['ratio'] > MAX_RATIO for result in results))


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


if __name__ == '__main__':
    sys.exit(main())
