"""Training steps on loaded data against steps on cached batches.

Training steps (copy to the device, forward, backward, optimizer) are timed in turns, in changing order: some
fed by the config's data loader, as many fed with batches that were loaded before. Each turn of the loader
begins with empty queues and a few steps that are not counted, so nothing that was loaded meanwhile helps it.
The ratio is the median over the turns; its bound is 1.05. Loading alone, with all workers and no model beside
them, is timed at the end.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable
from itertools import cycle, islice

import torch
from benchmarks.shared import Outcome, add_model_arguments, device_of
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console

from mmstremn.engine.launch import check_types, use_bfloat16
from mmstremn.engine.progress import StagedProgress
from mmstremn.registry import MODELS, SCOPE
from mmstremn.utils.shipped_files import find_config, read_config
from mmstremn.utils.timing import describe_device, elapsed, median_ratio, start_clock

MAX_RATIO = 1.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('config', help='config file; the model starts from its own weights')
    parser.add_argument('--steps', type=int, default=8, help='timed steps of a turn')
    parser.add_argument('--warm-up', type=int, default=2, help='steps before them')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision in bfloat16')
    add_model_arguments(parser, turns=5)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: A number is too small.
    """
    find_config(args.config)
    for name, least in (('steps', 1), ('warm_up', 0), ('turns', 1)):
        if getattr(args, name) < least:
            raise ValueError(
                f'--{name.replace("_", "-")}: expected at least {least}, got {getattr(args, name)}'
            )


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print a line."""
    cfg, device = read_config(args.config, args.cfg_options), device_of(args)
    if args.amp:
        use_bfloat16(cfg)
    check_types(cfg)
    torch.manual_seed(args.seed)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE)):
        loader = Runner.build_dataloader(dict(cfg.train_dataloader, persistent_workers=False), seed=args.seed)
        step = TrainingStep(cfg, device)
    result = measure(step, loader, args, StagedProgress(console))
    name = describe_device(device)
    loaded, cached = (result['ms_per_step'][source] for source in ('loaded', 'cached'))
    console.print(
        f'{name}: {loaded:.0f} ms a step on loaded data, {cached:.0f} ms on cached batches, ratio '
        f'{result["ratio"]:.3f}; '
        f'the loader alone: {result["ms_per_batch"]:.0f} ms a batch ({result["workers"]} workers)',
        soft_wrap=True,
    )
    failure = f'the ratio is {result["ratio"]:.3f}, expected at most {MAX_RATIO}'
    return Outcome(name, result, [failure] if result['ratio'] > MAX_RATIO else [])


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
