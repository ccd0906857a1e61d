"""Time and memory of training steps and long rollouts of video predictors.

Training: one step (forward, backward, optimizer) on random frames at the config's own sizes, the configs in
turns and in changing order; and the most memory that two steps of a process of its own need beyond model and
optimizer (CPU), or that PyTorch allocated (GPU).

Rollout: a stream that goes on from its own predictions. It is forked at frame 50 and at the last, and the
forks are timed in turns afterwards, a few frames each; the ratio is the median over the turns of last to
first. The bounds: a bounded memory's state grows by at most 2 %, and a frame gets at most 10 % slower.
"""

import argparse
import copy
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from benchmarks.shared import Outcome, add_model_arguments, device_of, resident_bytes
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import init_predictor
from mmstremn.engine.progress import StagedProgress
from mmstremn.models.prediction.stream import PredictionStream
from mmstremn.structures import PredictionDataSample
from mmstremn.utils.shipped_files import find_config, read_config
from mmstremn.utils.timing import describe_device, median_ratio, peak_resident_bytes, time_alternately

FIRST_MARK, WINDOW, ROLLOUT_TURNS = 50, 5, 20
MAX_RATIOS = dict(bytes=1.02, time=1.10)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='config files of VideoPredictors; weights are random'
    )
    parser.add_argument('--batch', type=int, default=4, help='clips of a training step')
    parser.add_argument(
        '--rollout',
        type=int,
        default=0,
        metavar='N',
        help=f'frames to predict, more than {FIRST_MARK}; 0: none (default)',
    )
    add_model_arguments(parser, turns=3)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: A number is out of range, or two configs have one name.
    """
    if args.rollout and args.rollout <= FIRST_MARK:
        raise ValueError(f'--rollout: expected 0 or more than {FIRST_MARK}, got {args.rollout}')
    if args.batch < 1 or args.turns < 0:
        raise ValueError(
            f'expected --batch of at least 1 and --turns of at least 0, got {args.batch} and {args.turns}'
        )
    if not args.turns and not args.rollout:
        raise ValueError('nothing to do: --turns 0 without --rollout')
    names = [Path(find_config(config)).stem for config in args.configs]
    if len(set(names)) < len(names):
        raise ValueError(f'expected configs of different names, got {names}')


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure every config, and print the table."""
    configs = {Path(path).stem: read_config(path, args.cfg_options) for path in args.configs}
    progress, results = StagedProgress(console), {name: {} for name in configs}
    with progress.running(2 * len(configs) + 1):
        if args.turns:
            with progress.stage('training steps') as report:
                for name, times in time_steps(configs, args).items():
                    results[name] |= dict(
                        ms_per_step=statistics.median(times), ms_per_turn=[round(t, 1) for t in times]
                    )
                report(1)
        for name, cfg in configs.items():
            with progress.stage(name) as report:
                if args.turns:
                    results[name]['peak_bytes'] = peak_of_a_process(cfg, args)
                report(1)
                if args.rollout:
                    results[name] |= measure_rollout(cfg, args)
                report(1)
    device = describe_device(device_of(args))
    console.print(result_table(results, device))
    return Outcome(device, dict(results=results), grown(results))


class TrainingStep:
    """A model, its optimizer and a batch of random frames; a call is one step."""

    def __init__(self, cfg: Config, args: argparse.Namespace):
        torch.manual_seed(args.seed)
        self.model = init_predictor(cfg, device=args.device).train()
        self.device = next(self.model.parameters()).device
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)
        data = cfg.train_dataloader.dataset
        shape = (
            data.input_frames + data.output_frames,
            cfg.model.get('frame_channels', 1),
            data.size,
            data.size,
        )
        self.frames = torch.rand(args.batch, *shape, device=self.device)
        self.samples = [
            PredictionDataSample(
                metainfo=dict(clip_name=f'clip{i}', input_frames=data.input_frames, sample_seed=i)
            )
            for i in range(args.batch)
        ]

    def __call__(self) -> None:
        loss, _ = self.model.parse_losses(self.model(self.frames, self.samples, 'loss'))
        self.optimizer.update_params(loss)


def time_steps(configs: dict[str, Config], args: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds of a training step in each turn, by name."""
    steps = {name: TrainingStep(cfg, args) for name, cfg in configs.items()}
    return time_alternately(steps, args.turns, next(iter(steps.values())).device)


def measure_peak(step: TrainingStep) -> int:
    """Bytes, see the module; the second step has the optimizer's state beside it."""
    before = resident_bytes()
    for _ in range(2):
        step()
    if step.device.type == 'cuda':
        return torch.cuda.max_memory_allocated(step.device)
    return peak_resident_bytes() - before


def peak_of_a_process(cfg: Config, args: argparse.Namespace) -> int:
    """:func:`measure_peak` in a process that has done nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(_peak_of_a_config, cfg.pretty_text, args).result()


def _peak_of_a_config(text: str, args: argparse.Namespace) -> int:
    if args.threads:
        torch.set_num_threads(args.threads)
    return measure_peak(TrainingStep(Config.fromstring(text, '.py'), args))


def measure_rollout(cfg: Config, args: argparse.Namespace) -> dict:
    """Size and speed of a stream at its first mark and at its end."""
    torch.manual_seed(args.seed)
    model, data = init_predictor(cfg, device=args.device), cfg.test_dataloader.dataset
    device = next(model.parameters()).device
    frames = torch.rand(data.input_frames, cfg.model.get('frame_channels', 1), data.size, data.size)
    stream = model.start(frames[0])
    for frame in frames[1:]:
        stream.step(frame)
    marks, forks = [], {}
    for index in range(1, args.rollout + 1):
        stream.step()
        if index in (FIRST_MARK, args.rollout):
            held = torch.cuda.memory_allocated(device) if device.type == 'cuda' else resident_bytes()
            marks.append(dict(frame=index, state_bytes=stream.state.nbytes, held_bytes=held))
            forks[index] = fork(stream)
    turns = time_alternately(
        {index: partial(advance, forked) for index, forked in forks.items()}, ROLLOUT_TURNS, device
    )
    for mark in marks:
        mark['ms_per_frame'] = statistics.median(turns[mark['frame']]) / WINDOW
    return dict(
        marks=marks,
        bytes_ratio=marks[-1]['state_bytes'] / marks[0]['state_bytes'],
        time_ratio=median_ratio(turns[args.rollout], turns[FIRST_MARK]),
        bounded=model.memory.bounded,
    )


def fork(stream: PredictionStream) -> PredictionStream:
    """A stream that goes on alone."""
    forked = copy.copy(stream)
    forked.state, forked._window = stream.state.clone(), copy.copy(stream._window)
    return forked


def advance(stream: PredictionStream) -> None:
    """A turn's frames."""
    for _ in range(WINDOW):
        stream.step()


def grown(results: dict) -> list[str]:
    """A line for each bound that a bounded memory exceeds."""
    lines = []
    for name, result in results.items():
        for what, most in MAX_RATIOS.items():
            ratio = result.get(f'{what}_ratio', 0)
            if ratio > most and result['bounded']:
                lines.append(f'{name}: {what} of last / first is {ratio:.3f}, expected at most {most}')
    return lines


def result_table(results: dict, device: str) -> Table:
    """A row for every config."""
    table = Table(title=f'training step and rollout, {device}', box=box.SIMPLE_HEAD)
    table.add_column('config', no_wrap=True)
    for name in (
        'step ms',
        'peak MB',
        'frames',
        'state MB',
        'held MB',
        'ms a frame',
        'time ratio',
        'bytes ratio',
    ):
        table.add_column(name, justify='right')
    for name, result in results.items():
        cells = (
            [f'{result["ms_per_step"]:.0f}', f'{result["peak_bytes"] / 1e6:.0f}']
            if 'ms_per_step' in result
            else ['', '']
        )
        if 'marks' in result:
            cells.append(' '.join(str(mark['frame']) for mark in result['marks']))
            for key, unit in (('state_bytes', 1e6), ('held_bytes', 1e6), ('ms_per_frame', 1)):
                cells.append(' '.join(f'{mark[key] / unit:.2f}' for mark in result['marks']))
            cells += [f'{result[key]:.3f}' for key in ('time_ratio', 'bytes_ratio')]
        table.add_row(name, *cells)
    return table
