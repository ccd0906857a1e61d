"""Train a model: ``python tools/train.py CONFIG``."""

import argparse
import sys

import torch

from mmstremn.checkpoints.reading import check_checkpoint_file
from mmstremn.engine.launch import (
    add_common_arguments,
    add_hook,
    build_runner,
    check_resumable,
    latest_checkpoint,
    load_config,
    use_bfloat16,
)
from mmstremn.engine.run_main import run_main


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a value, from the latest of the work folder, if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision in bfloat16')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    return parser.parse_args(argv)


def configure(args: argparse.Namespace):
    """The config of a training."""
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank)
    if args.amp:
        use_bfloat16(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise KeyError(f'--auto-scale-lr: expected auto_scale_lr.base_batch_size in {args.config}')
        cfg.auto_scale_lr.enable = True
    checkpoint = latest_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume
    if checkpoint:  # without one, `--resume auto` starts anew, from the config's load_from
        cfg.resume, cfg.load_from = True, checkpoint
    if cfg.get('load_from'):
        if cfg.get('resume'):
            check_resumable(cfg)
        check_checkpoint_file(cfg.load_from)
    add_hook(cfg, type='mmstremn.CheckpointMatchHook', strict=bool(checkpoint))
    add_hook(cfg, type='mmstremn.LearningCheckHook')
    return cfg


def main(argv: list[str] | None = None) -> None:
    build_runner(configure(parse_args(argv))).train()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == '__main__':
    sys.exit(run_main(main, 'train'))
