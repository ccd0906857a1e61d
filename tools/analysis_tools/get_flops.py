"""Operations and parameters of a model: ``python tools/analysis_tools/get_flops.py CONFIG --shape H W``.

They are counted by mmengine on one clip of noise: for a segmentor with one object, which is given in the
first frame; a frame is read, decoded, encoded and written as in ``mode='tensor'``. Figures are those of the
clip: divide by its frames. Products inside fused attention are counted as mmengine counts them.
"""

import argparse
import sys

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import DictAction

from mmstremn.engine.launch import load_config
from mmstremn.registry import MODELS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Count the operations and parameters of a model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape', type=int, nargs='+', default=[480, 864], help='of a frame: H W, or one number for both'
    )
    parser.add_argument('--frames', type=int, default=2, help='of the clip (default: %(default)s)')
    parser.add_argument('--channels', type=int, default=3, help='1 for predictors of grey videos')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape: expected H W, or one number for both, got {args.shape}')
    if args.frames < 2:
        parser.error(f'--frames: expected at least 2, got {args.frames}')
    return args


def count(args: argparse.Namespace) -> dict:
    """mmengine's figures of one clip."""
    cfg = load_config(args.config, args.cfg_options)
    model = MODELS.build(cfg.model).eval()
    height, width = args.shape * 2 if len(args.shape) == 1 else args.shape
    divisor = getattr(model.data_preprocessor, 'size_divisor', 1)
    padded = [side + -side % divisor for side in (height, width)]
    clip = torch.rand(1, args.frames, args.channels, *padded)
    found = get_model_complexity_info(model, inputs=(clip,), show_table=False, show_arch=False)
    return found | dict(shape=tuple(clip.shape[1:]))


def main(argv: list[str] | None = None) -> int:
    """Count and print; the exit code."""
    args = parse_args(argv)
    try:
        found = count(args)
    except (OSError, KeyError, ValueError) as error:
        print(f'get_flops: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    print(f'Clip (frames, channels, H, W): {found["shape"]}')
    print(f'Flops: {found["flops_str"]}, {found["flops"] / args.frames / 1e9:.4g} G a frame')
    print(f'Params: {found["params_str"]}')
    print(f'Activations: {found["activations_str"]}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
