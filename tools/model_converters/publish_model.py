"""Make a checkpoint ready to be shared: ``python tools/model_converters/publish_model.py SRC DST
[--half]``."""

import argparse
import sys
from pathlib import Path

from mmstremn.checkpoints.weight_files import publish


def main(argv: list[str] | None = None) -> int:
    """Run the tool; the exit code."""
    parser = argparse.ArgumentParser(
        description='Write the weights of a checkpoint without what only training needs'
    )
    parser.add_argument('src', type=Path, help='checkpoint of a training')
    parser.add_argument('dst', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument('--half', action='store_true', help='in half precision')
    args = parser.parse_args(argv)
    try:
        print(publish(args.src, args.dst, args.half))
    except (OSError, ValueError) as error:
        print(f'publish_model: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
