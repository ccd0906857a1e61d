"""Print or write the results of the model index: ``python tools/analysis_tools/leaderboard.py [--out
FILE.html]``.

The index is checked first; a result without config, log and checkpoint hash is refused.
"""

import argparse
import sys
from pathlib import Path

try:
    from rich.console import Console

    from mmstremn.comparison.leaderboard import index_columns, main_score, rich_table, write_table
    from mmstremn.comparison.metafiles import read_index
except ImportError as error:
    sys.exit(f'The leaderboard misses a package: {error}. Install it with: pip install -e ".[mm,analysis]"')

ROOT = Path(__file__).resolve().parents[2]
TITLE = 'Results of the model index'
PRINTED = ('model', 'dataset', 'J', 'F', 'J&F', 'PSNR', 'SSIM', 'log')  # what fits into a terminal


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='The results of the model index')
    parser.add_argument(
        '--index', type=Path, default=ROOT / 'model-index.yml', help='default: model-index.yml'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the table as .md, .html or .json')
    parser.add_argument('--check', action='store_true', help='only check')
    args = parser.parse_args(argv)
    if args.out and args.out.suffix not in ('.md', '.html', '.json'):
        parser.error(f'--out {args.out}: expected a name that ends in .md, .html or .json')
    return args


def main(argv: list[str] | None = None) -> int:
    """Check and show; the exit code."""
    args = parse_args(argv)
    rows, problems = read_index(args.index)
    for problem in problems:
        print(f'leaderboard: {problem}', file=sys.stderr)
    if problems:
        return 1
    rows.sort(key=lambda row: (row['task'], row['dataset'], -main_score(row)))
    if args.check:
        print(f'{args.index}: {len(rows)} results, each with config, log and checkpoint hash')
    elif args.out:
        write_table(rows, index_columns(rows), args.out, TITLE)
    else:
        Console(file=sys.stdout).print(
            rich_table(rows, index_columns(rows, PRINTED), f'{TITLE}, J and F in percent')
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
