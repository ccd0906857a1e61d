"""Does loading data slow training down? ``python tools/analysis_tools/benchmark_training.py CONFIG``.

Training steps (copy to the device, forward, backward, optimizer) are timed in turns, in changing order: some
fed by the config's data loader, as many fed with batches that were loaded before. Each turn of the loader
begins with empty queues and a few steps that are not counted, so nothing that was loaded meanwhile helps it.
The ratio is the median over the turns. Loading alone, with all workers and no model beside them, is timed at
the end. With ``--check`` the exit code is 1 where the ratio exceeds 1.05.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console

from mmstremn.engine.launch import check_types, use_bfloat16
from mmstremn.engine.progress import StagedProgress
from mmstremn.registry import MODELS, SCOPE
from mmstremn.utils.timing import (
    command_line,
    describe_device,
    elapsed,
    median_ratio,
    save_figures,
    start_clock,
)

MAX_RATIO = 1.05


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Training steps on loaded data against steps on cached batches'
    )
    parser.add_argument('config', help='config file; the model starts from its own weights')
    parser.add_argument('--steps', type=int, default=8, help='timed steps of a turn')
    parser.add_argument('--warm-up', type=int, default=2, help='steps before them')
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision in bfloat16')
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument(
        '--check', action='store_true', help=f'exit with 1 where the ratio exceeds {MAX_RATIO}'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    args.command = command_line('tools/analysis_tools/benchmark_training.py', argv)
    for name, least in (('steps', 1), ('warm_up', 0), ('turns', 1)):
        if getattr(args, name) < least:
            parser.error(f'--{name.replace("_", "-")}: expected at least {least}, got {getattr(args, name)}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if not Path(args.config).is_file():
        sys.exit(f'benchmark_training: config {args.config}: no such file')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if args.amp:
        use_bfloat16(cfg)
    check_types(cfg)
    console, device = Console(), torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    torch.manual_seed(args.seed)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE)):
        loader = Runner.build_dataloader(dict(cfg.train_dataloader, persistent_workers=False), seed=args.seed)
        step = TrainingStep(cfg, device)
    result = measure(step, loader, args, StagedProgress(console))
    device = describe_device(device)
    loaded, cached = (result['ms_per_step'][name] for name in ('loaded', 'cached'))
    console.print(
        f'{device}: {loaded:.0f} ms a step on loaded data, {cached:.0f} ms on cached batches, ratio '
        f'{result["ratio"]:.3f}; '
        f'the loader alone: {result["ms_per_batch"]:.0f} ms a batch ({result["workers"]} workers)',
        soft_wrap=True,
    )
    save_figures(
        args, device, ('command', 'config', 'cfg_options', 'steps', 'warm_up', 'turns', 'amp', 'seed'), result
    )
    if args.check and result['ratio'] > MAX_RATIO:
        print(
            f'benchmark_training: the ratio is {result["ratio"]:.3f}, expected at most {MAX_RATIO}',
            file=sys.stderr,
        )
        return 1
    return 0


class TrainingStep:
    """A model and its optimizer; a call is one step on a batch."""

    def __init__(self, cfg: Config, device: torch.device):
        self.device = device
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model = self.model.to(device).train()
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def __call__(self, batch: dict) -> None:
        self.model.train_step(batch, self.optimizer)


def measure(step: TrainingStep, loader: Iterable, args: argparse.Namespace, progress: StagedProgress) -> dict:
    """All figures."""
    times = dict(loaded=[], cached=[])
    with progress.running(2 * args.turns + 1), progress.stage('training') as report:
        batches = list(islice(loader, args.warm_up + args.steps))
        sources = dict(loaded=lambda: loader, cached=lambda: cycle(batches))
        milliseconds(step, batches, args, step.device)  # not counted
        for turn in range(args.turns):
            for name in list(sources)[:: -1 if turn % 2 else 1]:
                times[name].append(milliseconds(step, sources[name](), args, step.device))
                report(1)
        alone = milliseconds(lambda batch: None, loader, args, step.device)
        report(1)
    return dict(
        ms_per_step={name: statistics.median(values) for name, values in times.items()},
        ms_per_turn={name: [round(value, 1) for value in values] for name, values in times.items()},
        ratio=median_ratio(times['loaded'], times['cached']),
        ms_per_batch=alone,
        workers=loader.num_workers,
    )


def milliseconds(step: Callable, batches: Iterable, args: argparse.Namespace, device: torch.device) -> float:
    """Of a step, those of the warm-up not counted."""
    batches = iter(batches)
    for batch in islice(batches, args.warm_up):
        step(batch)
    begin = start_clock(device)
    for batch in islice(batches, args.steps):
        step(batch)
    return 1000 * elapsed(begin, device) / args.steps


if __name__ == '__main__':
    sys.exit(main())
