"""Test a model: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.dist import is_main_process

from mmstremn.checkpoints.matching import has_own_weights, with_own_weights, without_backbone_weights
from mmstremn.checkpoints.reading import check_checkpoint_file
from mmstremn.engine.launch import (
    add_common_arguments,
    add_hook,
    build_runner,
    load_config,
)
from mmstremn.engine.run_main import run_main
from mmstremn.utils.atomic import check_place, write_json


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a model')
    add_common_arguments(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file or URL; of a tracker a folder or a hub name, by default that of its config',
    )
    parser.add_argument('--out', metavar='FILE', help='write the metrics as JSON')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='write predicted masks and overlays, or predicted frames (PNG, MP4)'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    if args.out is not None:
        check_place(args.out)
    if args.show_dir is not None:
        check_place(Path(args.show_dir) / 'metrics.json')
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank)
    cfg.load_from, cfg.resume = None, False
    if has_own_weights(cfg.model):
        if args.checkpoint is not None:
            cfg.model = with_own_weights(cfg.model, args.checkpoint)
    elif args.checkpoint is not None:
        check_checkpoint_file(args.checkpoint)
        cfg.load_from = args.checkpoint
        cfg.model = without_backbone_weights(cfg.model)
        add_hook(cfg, type='mmstremn.CheckpointMatchHook', strict=True)
    else:
        raise ValueError(f'{args.config}: its model has no weights of its own, expected a checkpoint')
    if args.show_dir is not None:
        for hook in (
            'mmstremn.VOSVisualizationHook',
            'mmstremn.PredictionVisualizationHook',
        ):  # each takes what is its own
            add_hook(cfg, type=hook, out_dir=args.show_dir)
    metrics = build_runner(cfg).test()
    if args.out is not None and is_main_process():
        write_json(args.out, metrics)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return metrics


if __name__ == '__main__':
    sys.exit(run_main(main, 'test'))
