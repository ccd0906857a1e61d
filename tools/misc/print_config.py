"""Print the whole config: ``python tools/misc/print_config.py CONFIG``."""

import argparse
import sys

from mmengine.config import DictAction

from mmstremn.utils.shipped_files import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Print the whole config')
    parser.add_argument('config', help='config file, or the name of one of ours')
    parser.add_argument('--save-path', metavar='FILE', help='write it there too (.py, .json or .yml)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.save_path and not args.save_path.endswith(('.py', '.json', '.yml', '.yaml')):
        parser.error(f'--save-path: expected a .py, .json or .yml file, got {args.save_path}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Print it; the exit code."""
    args = parse_args(argv)
    try:
        cfg = read_config(args.config, args.cfg_options, needs_model=False)
    except (FileNotFoundError, ValueError) as error:
        print(f'print_config: {error}', file=sys.stderr)
        return 1
    print(cfg.pretty_text)
    if args.save_path:
        cfg.dump(args.save_path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
