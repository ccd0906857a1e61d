"""Print or write the page of all models: ``python tools/analysis_tools/model_zoo.py --out
docs/model_zoo.md``.

It is made of the model index, which is checked first.
"""

import argparse
import sys
from pathlib import Path

try:
    from mmstremn.comparison.metafiles import read_models
    from mmstremn.comparison.model_zoo import model_zoo
    from mmstremn.utils.atomic import write_atomically
except ImportError as error:
    sys.exit(f'The model zoo misses a package: {error}. Install it with: pip install -e ".[mm,analysis]"')

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='The page of all models')
    parser.add_argument(
        '--index', type=Path, default=ROOT / 'model-index.yml', help='default: model-index.yml'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='default: print it')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Check and write; the exit code."""
    args = parse_args(argv)
    models, problems = read_models(args.index)
    for problem in problems:
        print(f'model_zoo: {problem}', file=sys.stderr)
    if problems:
        return 1
    if args.out:
        write_atomically(args.out, model_zoo(models).encode())
    else:
        print(model_zoo(models), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
