"""What a memory adds to an FCN of mmsegmentation, on embedded videos with noise and hidden parts, and what it
costs::

    python studies/mmseg_memory/run.py --seeds 0 1 2 --out studies/mmseg_memory/result.json \
        --plot studies/mmseg_memory/figure.png

For each seed, ``configs/adapters/mmseg/fcn_synthetic.py`` is trained; from its checkpoint the FCN learns on
with a memory (``fcn_memory_synthetic.py``) and without one, on the same clips for as many iterations. Both
are tested on the same videos, undisturbed and disturbed. Finished trainings are kept in ``--work-dir`` and
not repeated.
"""

import argparse
import copy
import json
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, TestLoop
from rich.console import Console
from rich.table import Table

from mmstremn.utils.timing import command_line, describe, describe_device, median_ratio, time_alternately

CONFIGS = Path(__file__).parents[2] / 'configs/adapters/mmseg'
START, PLAIN, MEMORY = 'start', 'FCN', 'FCN + memory'
MODELS = (PLAIN, MEMORY)
CONDITIONS = {'undisturbed': (0, 0), 'noise': (1, 0), 'hidden': (0, 1), 'noise and hidden': (1, 1)}
METRICS = ('mIoU', 'VC8', 'VC8_right')
FRAMES_TIMED = 8


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='What a memory adds to an FCN of mmsegmentation')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='of weights and clips')
    parser.add_argument(
        '--split', default='test', choices=['dev', 'test'], help='videos to test on; tune on dev'
    )
    parser.add_argument('--iterations', type=int, help='of each training (default: those of the configs)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/mmseg_memory'))
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.json')
    parser.add_argument('--plot', type=Path, metavar='FILE.png')
    return parser.parse_args(argv)


def load(model: str, seed: int, args: argparse.Namespace) -> Config:
    """The config of one training."""
    cfg = Config.fromfile(CONFIGS / ('fcn_synthetic.py' if model == START else 'fcn_memory_synthetic.py'))
    if model == PLAIN:
        cfg.model.decode_head = cfg.model.decode_head.head
    if args.iterations:
        cfg.train_cfg.max_iters = cfg.param_scheduler[0].end = cfg.default_hooks.checkpoint.interval = (
            args.iterations
        )
    cfg.randomness = dict(seed=seed)
    name = f'{model.lower().replace(" + ", "_")}_{seed}'
    cfg.work_dir, cfg.experiment_name = str(args.work_dir / name), f'{name}_{time.time_ns()}'
    cfg.test_dataloader.dataset.split = args.split
    return cfg


def checkpoint_of(cfg: Config) -> Path:
    """Where a training leaves its weights."""
    return Path(cfg.work_dir) / f'iter_{cfg.train_cfg.max_iters}.pth'


def train(cfg: Config) -> Runner:
    """The trained model; what was trained before is loaded."""
    done = checkpoint_of(cfg).is_file()
    if done:
        cfg.load_from = None
    runner = Runner.from_cfg(cfg)
    if done:
        runner.load_checkpoint(str(checkpoint_of(cfg)), strict=True)
        runner.call_hook('before_run')  # the logger wants it before a test
    else:
        runner.train()
    return runner


def run(model: str, seed: int, args: argparse.Namespace) -> dict:
    """Train from the start of this seed and test under all conditions."""
    cfg = load(model, seed, args)
    start = load(START, seed, args)
    if not checkpoint_of(start).is_file():
        train(start)
    cfg.load_from = str(checkpoint_of(start))
    runner = train(cfg)
    row = dict(model=model, seed=seed, results={})
    for name, (noisy, hidden) in CONDITIONS.items():
        loader = copy.deepcopy(cfg.test_dataloader)
        loader.dataset.pipeline[1].update(noise=noisy * cfg.noise, hidden=hidden * cfg.hidden)
        metrics = TestLoop(runner, loader, cfg.test_evaluator).run()
        row['results'][name] = {metric: metrics[metric] for metric in METRICS}
    return row


def summarise(rows: list[dict]) -> list[dict]:
    """Means over seeds and their standard deviations; gains are differences at equal seed."""
    table = []
    for condition in CONDITIONS:
        for metric in METRICS:
            values = {
                model: [row['results'][condition][metric] for row in rows if row['model'] == model]
                for model in MODELS
            }
            plain, memory = values.values()
            values['gain'] = [b - a for a, b in zip(plain, memory, strict=True)]
            figures = {
                name: (statistics.mean(x), statistics.stdev(x) if len(x) > 1 else 0.0)
                for name, x in values.items()
            }
            table.append(dict(condition=condition, metric=metric, **figures))
    return table


def cost(args: argparse.Namespace) -> dict:
    """Parameters, and the time of a frame in testing and in training, of the memory to the FCN without."""
    models, parameters = {}, {}
    for name in MODELS:
        cfg = load(name, 0, args)
        cfg.load_from = None
        runner = Runner.from_cfg(cfg)
        models[name] = runner.model
        parameters[name] = sum(p.numel() for p in runner.model.parameters())
        video = [pseudo_collate([runner.test_dataloader.dataset[i]]) for i in range(FRAMES_TIMED)]
        batch = next(iter(runner.train_dataloader))

    def tested(model):
        model.eval()
        with torch.no_grad():
            for frame in video:
                model.test_step(copy.deepcopy(frame))

    def trained(model):
        model.train()
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        model.parse_losses(model(**data, mode='loss'))[0].backward()

    ratios, milliseconds = {}, {}
    for name, step, frames in (
        ('testing', tested, FRAMES_TIMED),
        ('training', trained, len(batch['inputs'])),
    ):
        times = time_alternately({m: partial(step, models[m]) for m in models}, 9, torch.device('cpu'))
        plain, memory = times.values()
        ratios[name] = median_ratio(memory, plain)
        milliseconds[name] = {model: statistics.median(taken) / frames for model, taken in times.items()}
    return dict(parameters=parameters, time_ratio=ratios, ms_per_frame=milliseconds)


def plot(table: list[dict], path: Path) -> None:
    """Bars of mIoU and VC8 with their spread over seeds."""
    figure = Figure(figsize=(9, 3.4), layout='constrained')
    FigureCanvasAgg(figure)
    places = np.arange(len(CONDITIONS))
    for axes, metric in zip(figure.subplots(1, 2), ('mIoU', 'VC8_right'), strict=True):
        lines = [line for line in table if line['metric'] == metric]
        for shift, model in zip((-0.2, 0.2), MODELS, strict=True):
            means, spreads = zip(*(line[model] for line in lines), strict=True)
            axes.bar(places + shift, means, 0.38, yerr=spreads, label=model, capsize=3)
        axes.set_xticks(places, [name.replace(' and ', '\nand ') for name in CONDITIONS])
        axes.set_ylabel(f'{metric} in percent')
        axes.spines[['top', 'right']].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside upper center', ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def show(table: list[dict], costs: dict) -> None:
    """Print what was found."""
    printed = Table('condition', 'metric', *MODELS, 'gain')
    for line in table:
        cells = (f'{mean:.1f} ± {spread:.1f}' for mean, spread in (line[name] for name in (*MODELS, 'gain')))
        printed.add_row(line['condition'], line['metric'], *cells)
    console = Console()
    console.print(printed)
    console.print_json(data=costs)


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    args.work_dir = args.work_dir.resolve()
    init_default_scope('mmseg')
    rows = [run(model, seed, args) for seed in args.seeds for model in MODELS]
    table, costs = summarise(rows), cost(args)
    report = dict(command=command_line('studies/mmseg_memory/run.py', argv))
    report |= describe(args, describe_device(torch.device('cpu')), ('seeds', 'split', 'iterations'))
    report |= dict(rows=rows, table=table, cost=costs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + '\n')
    if args.plot is not None:
        plot(table, args.plot)
    show(table, costs)
    return report


if __name__ == '__main__':
    main()
