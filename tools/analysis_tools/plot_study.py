"""Plot the leaderboards of comparisons::

    python tools/analysis_tools/plot_study.py DIR [DIR ...] --kind bars|slots|cadence|length|horizon|steps
    --out FILE.png

``bars``: J&F, or PSNR of predictors, with its spread over the seeds, bytes of the state and ms a frame of
every memory. ``slots`` and ``cadence``: the same over the number at the end of the names (``fifo_8``,
``fifo_every_10``), a line for every rule. ``length``: J&F of every video over its frames; the config of the
comparison says how many each has. ``horizon``: PSNR of every predicted frame. ``steps``: PSNR, bytes of the
state and ms a frame over the number of predicted frames, from comparisons that differ in
``test_dataloader.dataset.output_frames``.
"""

import argparse
import sys
from pathlib import Path

try:
    from mmstremn.comparison.plots import KINDS, read_boards
except ImportError as error:
    sys.exit(f'The plots miss a package: {error}. Install it with: pip install -e ".[mm,analysis]"')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Plot the leaderboards of comparisons')
    parser.add_argument('folders', nargs='+', type=Path, metavar='DIR', help='folders of compare_memories.py')
    parser.add_argument('--kind', choices=list(KINDS), default='bars')
    parser.add_argument('--memories', nargs='+', metavar='NAME', help='only these (default: all)')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='picture, e.g. a .png')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Plot; the exit code."""
    args = parse_args(argv)
    try:
        figure = KINDS[args.kind](read_boards(args.folders, args.memories))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out)
    except (OSError, ValueError, KeyError) as error:
        print(f'plot_study: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
