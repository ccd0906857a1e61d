"""Cost of video predictors: ``python tools/analysis_tools/benchmark_prediction.py CONFIG [CONFIG ...]
--rollout 1000``.

Training: one step (forward, backward, optimizer) on random frames at the config's own sizes, the configs in
turns and in changing order; and the most memory that two steps of a process of its own need beyond model and
optimizer (CPU), or that PyTorch allocated (GPU).

Rollout: a stream that goes on from its own predictions. It is forked at frame 50 and at the last, and the
forks are timed in turns afterwards, a few frames each; the ratio is the median over the turns of last to
first. With ``--check`` the exit code is 1 where a bounded memory's state grows by more than 2 % or a frame
gets more than 10 % slower.
"""

import argparse
import copy
import json
import resource
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import init_predictor
from mmstremn.engine.progress import StagedProgress
from mmstremn.models.prediction.stream import PredictionStream
from mmstremn.structures import PredictionDataSample
from mmstremn.utils.timing import command_line, describe_device, median_ratio, save_figures, time_alternately

FIRST_MARK, WINDOW, ROLLOUT_TURNS = 50, 5, 20
MAX_RATIOS = dict(bytes=1.02, time=1.10)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time and memory of training steps and long rollouts of video predictors'
    )
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='config files of VideoPredictors; weights are random'
    )
    parser.add_argument('--batch', type=int, default=4, help='clips of a training step')
    parser.add_argument('--turns', type=int, default=3, help='timed training steps of every config; 0: none')
    parser.add_argument(
        '--rollout',
        type=int,
        default=0,
        metavar='N',
        help=f'frames to predict, more than {FIRST_MARK}; 0: none (default)',
    )
    parser.add_argument(
        '--check', action='store_true', help='exit with 1 where a bounded memory grows or slows down'
    )
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='of all configs'
    )
    parser.add_argument(
        '--peak-only', action='store_true', help=argparse.SUPPRESS
    )  # what this tool starts itself with
    args = parser.parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    args.command = command_line('tools/analysis_tools/benchmark_prediction.py', argv)
    if args.rollout and args.rollout <= FIRST_MARK:
        parser.error(f'--rollout: expected 0 or more than {FIRST_MARK}, got {args.rollout}')
    if args.batch < 1 or args.turns < 0:
        parser.error(
            f'expected --batch of at least 1 and --turns of at least 0, got {args.batch} and {args.turns}'
        )
    if not args.turns and not args.rollout:
        parser.error('nothing to do: --turns 0 without --rollout')
    missing = [config for config in args.configs if not Path(config).is_file()]
    if missing:
        parser.error(f'config {missing[0]}: no such file')
    names = [Path(config).stem for config in args.configs]
    if len(set(names)) < len(names):
        parser.error(f'expected configs of different names, got {names}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    configs = {Path(path).stem: load(path, args.cfg_options) for path in args.configs}
    if args.peak_only:
        (cfg,) = configs.values()
        print(json.dumps(measure_peak(TrainingStep(cfg, args))))
        return 0
    console, results = Console(file=sys.stdout), {name: {} for name in configs}
    progress = StagedProgress(console)
    with progress.running(2 * len(configs) + 1):
        if args.turns:
            with progress.stage('training steps') as report:
                for name, times in time_steps(configs, args).items():
                    results[name] |= dict(
                        ms_per_step=statistics.median(times), ms_per_turn=[round(t, 1) for t in times]
                    )
                report(1)
        for path, (name, cfg) in zip(args.configs, configs.items(), strict=True):
            with progress.stage(name) as report:
                if args.turns:
                    results[name]['peak_bytes'] = peak_of_a_process(path, args)
                report(1)
                if args.rollout:
                    results[name] |= measure_rollout(cfg, args)
                report(1)
    device = describe_device(torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu')))
    console.print(result_table(results, device))
    save_figures(
        args, device, ('command', 'configs', 'batch', 'turns', 'rollout', 'seed'), dict(results=results)
    )
    failures = grown(results)
    if args.check and failures:
        print('\n'.join(failures), file=sys.stderr)
        return 1
    return 0


def load(path: str, options: dict) -> Config:
    """The config with ``options``."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


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
    return peak_bytes() - before


def peak_of_a_process(config: str, args: argparse.Namespace) -> int:
    """:func:`measure_peak` in a process that has done nothing else."""
    options = [argument for argument in args.argv if argument not in args.configs]
    command = [sys.executable, __file__, config, *options, '--peak-only']
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'benchmark_prediction: {config}: the process that measures memory failed\n{done.stderr}')
    return int(done.stdout.splitlines()[-1])


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


def resident_bytes() -> int:
    """Held by this process now; where the system does not tell, the most so far."""
    file = Path('/proc/self/statm')
    return int(file.read_text().split()[1]) * resource.getpagesize() if file.is_file() else peak_bytes()


def peak_bytes() -> int:
    """The most that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def grown(results: dict) -> list[str]:
    """A line for each bound that a bounded memory exceeds."""
    lines = []
    for name, result in results.items():
        for what, most in MAX_RATIOS.items():
            ratio = result.get(f'{what}_ratio', 0)
            if ratio > most and result['bounded']:
                lines.append(
                    f'benchmark_prediction: {name}: {what} of last / first is {ratio:.3f}, expected at most '
                    f'{most}'
                )
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


if __name__ == '__main__':
    sys.exit(main())
