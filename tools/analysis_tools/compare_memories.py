"""Train and test one model with several memories at equal budget, and make a leaderboard of them::

    python tools/analysis_tools/compare_memories.py CONFIG --memories gumbel fifo --seeds 3 --out DIR
    python tools/analysis_tools/compare_memories.py --check-row gumbel:0 --out DIR

Rows start from random weights or the config's ``load_from``, from ``--start``, or are tested as they are with
``--checkpoint``; a tracker, whose config names its own weights, is tested as it is. The folder gets
``rows/NAME/seed_K`` with config, log, checkpoint and ``row.json``, and after every row ``leaderboard.json``,
``.md`` and ``.html``. Stopped, it goes on where it was with the same command. The last call runs a row of
``leaderboard.json`` again and compares the scores.
"""

import argparse
import shlex
import sys
from pathlib import Path

try:
    import torch
    from mmengine.config import DictAction
    from rich.console import Console

    from mmstremn.comparison.compare import RowError, check_row, run_rows
    from mmstremn.comparison.leaderboard import comparison_columns, rich_table, summarise
    from mmstremn.comparison.memory_file import choose_memories, load_memories
    from mmstremn.comparison.plan import plan
    from mmstremn.comparison.row_files import read_rows
    from mmstremn.comparison.scores import SCORES, compared_scores, scores_of
    from mmstremn.comparison.setup import compared_metric, load_base, make_setup
    from mmstremn.engine.progress import StagedProgress
except ImportError as error:
    sys.exit(f'The comparison misses a package: {error}. Install it with: pip install -e ".[mm,analysis]"')

MEMORY_FILES = ' or '.join(scores.memory_file for scores in SCORES.values())
# The last digit that the tables show of J and F. On the machine and the versions of the leaderboard nothing
# differs.
TOLERANCE = 1e-3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare memories at equal budget')
    parser.add_argument('config', nargs='?', help='config of a model with a memory (not with --check-row)')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the comparison')
    parser.add_argument(
        '--memories', nargs='+', default=['all'], metavar='NAME', help="names of the memory file, or 'all'"
    )
    parser.add_argument(
        '--memory-file', help=f'config with a dict `memories` (default: {MEMORY_FILES}, by the metric)'
    )
    parser.add_argument(
        '--seeds', type=int, default=3, metavar='N', help='seeds 0..N-1 of weights, clips and noise'
    )
    parser.add_argument('--iters', type=int, help="iterations of every training (default: the config's)")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        '--start', metavar='CHECKPOINT', help="start training from it (default: the config's load_from)"
    )
    weights.add_argument('--checkpoint', metavar='CHECKPOINT', help='test it without training')
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='parameters that --checkpoint lacks stay random and are recorded',
    )
    parser.add_argument(
        '--jobs', type=int, default=1, metavar='J', help='rows at a time; they share the threads'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='run rows again that were made with another config'
    )
    parser.add_argument(
        '--drop-checkpoints', action='store_true', help='keep only the hash of what was trained'
    )
    parser.add_argument(
        '--check-row', metavar='NAME[:SEED]', help='run a row of DIR/leaderboard.json again and compare'
    )
    parser.add_argument(
        '--tolerance', type=float, default=TOLERANCE, help='of --check-row (default: %(default)s)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if (args.config is None) != (args.check_row is not None):
        parser.error(
            'expected either a config or --check-row, which takes everything from DIR/leaderboard.json'
        )
    for name in ('seeds', 'jobs', 'iters'):
        if (getattr(args, name) or 0) < 1 and getattr(args, name) is not None:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    if args.checkpoint and args.iters and not args.check_row:
        parser.error('--checkpoint is tested without training: leave --iters out')
    if args.allow_missing and not args.checkpoint:
        parser.error(
            '--allow-missing is for --checkpoint: training starts with what a checkpoint has in any case'
        )
    command = sys.argv[1:] if argv is None else argv
    args.command = shlex.join(['python', 'tools/analysis_tools/compare_memories.py', *command])
    return args


def main(argv: list[str] | None = None) -> int:
    """Compare or check; the exit code."""
    args = parse_args(argv)
    console = Console(file=sys.stdout)
    try:
        return check(args, console) if args.check_row else compare(args, console)
    except (RowError, OSError, ValueError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f'compare_memories: {message}', file=sys.stderr)
        return 1


def compare(args: argparse.Namespace, console: Console) -> int:
    """Run all rows and print the table and what failed."""
    metric, _ = compared_metric(load_base(args.config, args.cfg_options))
    memories = choose_memories(load_memories(args.memory_file or SCORES[metric].memory_file), args.memories)
    setup = make_setup(
        args.config, args.cfg_options, args.iters, args.start, args.checkpoint, args.allow_missing
    )
    rows = plan(setup, memories, list(range(args.seeds)), args.out, args.command, args.overwrite)
    threads = max(1, torch.get_num_threads() // args.jobs)
    failures = run_rows(rows, args.out, StagedProgress(console), args.jobs, threads, args.drop_checkpoints)
    finished = read_rows(args.out)
    if finished:
        title = f'{args.config}, {scores_of(finished).unit}'
        console.print(rich_table(summarise(finished), comparison_columns(finished), title))
        console.print(f'Written to {args.out}: leaderboard.json, .md, .html', highlight=False, soft_wrap=True)
    for failure in failures:
        print(f'compare_memories: {failure}', file=sys.stderr)
    return 1 if failures else 0


def check(args: argparse.Namespace, console: Console) -> int:
    """Run a row again and print both."""
    weights = args.checkpoint or args.start
    committed, again, differences = check_row(
        args.out, args.check_row, args.tolerance, StagedProgress(console), weights
    )
    for key in compared_scores(committed):
        console.print(f'{key:<4} {committed[key]:.6f} committed, {again[key]:.6f} now', highlight=False)
    for key in ('device', 'versions', 'fingerprint'):
        if committed[key] != again[key]:
            console.print(
                f'another {key}: {committed[key]} committed, {again[key]} now',
                highlight=False,
                soft_wrap=True,
            )
    for difference in differences:
        print(f'compare_memories: {args.check_row}: {difference}', file=sys.stderr)
    return 1 if differences else 0


if __name__ == '__main__':
    sys.exit(main())
