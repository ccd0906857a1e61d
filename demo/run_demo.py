"""Train, test and show STReMN on synthetic videos: ``python demo/run_demo.py --out work_dirs/demo`` (``make demo``).

The config's memory is trained with its learned selector and, on the same clips, with FIFO; both are tested beside the
baseline that copies the first mask. The folder gets ``stremn.pth``, ``fifo.pth``, ``metrics.json``, ``overlay.mp4`` and
``slots.png`` of one test video, ``log.txt``, and the logs of the four runs under ``runs``. On the CPU a seed gives the same
figures every time.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path

try:
    import cv2
    import numpy as np
    import torch
    from mmengine.config import Config, DictAction
    from mmengine.hooks import Hook
    from mmengine.registry import DefaultScope
    from PIL import Image
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Table

    from mmstremn.apis import init_segmentor
    from mmstremn.datasets.video import Video, iterate_frames
    from mmstremn.engine.launch import add_hook, build_runner, load_config
    from mmstremn.evaluation import MEASURES, copy_first_mask, evaluate_video, global_measures
    from mmstremn.models.video_inference import predict_video
    from mmstremn.registry import DATASETS, SCOPE
    from mmstremn.structures import VOSDataSample
    from mmstremn.utils.palette import decode_palette_png
    from mmstremn.visualization import draw_slot_timeline, write_overlay_video
except ImportError as error:
    sys.exit(f'The demo needs a package that is missing: {error}. `make demo` installs it, or: pip install -e .[mm]')

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = ('stremn.pth', 'fifo.pth', 'metrics.json', 'overlay.mp4', 'slots.png', 'log.txt', 'runs')
MODELS_TRAINED = {
    'stremn': ('learned selector (STReMN)', {}),
    'fifo': (
        'FIFO, trained the same way',
        {'model.memory.selector._delete_': True, 'model.memory.selector.type': 'FIFOSelector'},
    ),
}
BASELINE = ('copy_first_mask', 'copy the first mask')
PACKAGES = ('torch', 'torchvision', 'timm', 'onedl-mmengine', 'numpy', 'scikit-image', 'scikit-learn')
# Measured on a CPU, in training iterations: how much of the bar a tested video and one of the baseline is.
TEST_COST, BASELINE_COST = 2.0, 0.4


class ProgressHook(Hook):
    """Calls ``report(units of work)`` after every iteration of training and testing."""

    def __init__(self, report: Callable[[float], None]):
        self.report = report

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.report(1)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.report(TEST_COST)


class Stage:
    """The whole demo's bar, of which each stage is a part."""

    def __init__(self, console: Console, total: float):
        columns = (
            TextColumn('{task.description:<34}'),
            BarColumn(),
            TextColumn('{task.percentage:>3.0f} %'),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
        )
        # The streams stay where they are: the log is redirected, not the bar.
        self.bar = Progress(
            *columns, console=console, redirect_stdout=False, redirect_stderr=False, speed_estimate_period=120
        )
        self.task = self.bar.add_task('start', total=total)
        self.seconds: dict[str, float] = {}
        self.name = 'start'

    def report(self, units: float) -> None:
        """Some work is done."""
        self.bar.advance(self.task, units)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """A stage; its seconds are kept."""
        self.name = name
        if not self.bar.console.is_terminal:
            self.bar.console.print(f'{name} ...', highlight=False)
        self.bar.update(self.task, description=name)
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 1)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train, test and show STReMN on synthetic videos')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='folder for everything the demo leaves')
    parser.add_argument('--config', default=str(ROOT / 'configs/stremn_synthetic.py'), help='config with slots')
    parser.add_argument('--iters', type=int, help="training iterations of each of the two (default: the config's)")
    parser.add_argument('--seed', type=int, help="of weights, noise and clips (default: the config's)")
    parser.add_argument('--video', type=int, default=0, help='the test video that is shown')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.iters is not None and args.iters < 1:
        parser.error(f'--iters must be at least 1, got {args.iters}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    args = parse_args(argv)
    console = Console(file=sys.stdout)
    _clear(args.out)
    with open(args.out / 'log.txt', 'w', buffering=1) as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                metrics = run(args, console)
        except Exception as error:
            traceback.print_exc(file=log)
            message = f'The demo failed in "{getattr(error, "stage", "start")}": {type(error).__name__}: {error}'
            print(f'{message}\nThe whole story is in {args.out / "log.txt"}.', file=sys.stderr)
            return 1
    console.print(_table(metrics))
    console.print(f'{args.out}: {", ".join(OUTPUTS)}', highlight=False, soft_wrap=True)
    return 0


def run(args: argparse.Namespace, console: Console) -> dict:
    """All stages; returns what metrics.json holds."""
    cfgs = {name: _config(args, name, options) for name, (_, options) in MODELS_TRAINED.items()}
    cfg = cfgs['stremn']
    videos = _test_videos(cfg)
    if not 0 <= args.video < len(videos):
        raise ValueError(f'--video {args.video}: expected 0..{len(videos) - 1}, a test video of {args.config}')
    work = 2 * (cfg.train_cfg.max_iters + TEST_COST * len(videos)) + BASELINE_COST * len(videos) + TEST_COST
    stage, results = Stage(console, work), {}
    try:
        with stage.bar:
            for name, (title, _) in MODELS_TRAINED.items():
                with stage(f'training {title.split(" (")[0].split(",")[0]}'):
                    train(cfgs[name], args.out / f'{name}.pth', stage.report)
                with stage(f'testing {title.split(" (")[0].split(",")[0]}'):
                    results[name] = test(cfgs[name], args.out / f'{name}.pth', stage.report)
            with stage('copying the first mask'):
                results[BASELINE[0]] = evaluate_baseline(videos, stage.report)
            with stage('drawing'):
                show(cfg, args.out, videos[args.video])
                stage.report(TEST_COST)
    except Exception as error:
        error.stage = stage.name
        raise
    metrics = _report(args, cfgs, videos, results, stage.seconds)
    (args.out / 'metrics.json').write_text(json.dumps(metrics, indent=2) + '\n')
    return metrics


def train(cfg: Config, checkpoint: Path, report: Callable[[float], None]) -> None:
    """Train as ``tools/train.py`` does and move the last checkpoint to ``checkpoint``."""
    runner = build_runner(cfg)
    runner.register_hook(ProgressHook(report))
    runner.train()
    last = Path(cfg.work_dir, 'last_checkpoint').read_text()
    os.replace(last, checkpoint)


def test(cfg: Config, checkpoint: Path, report: Callable[[float], None]) -> dict[str, float]:
    """The measures of a checkpoint on the test videos, as ``tools/test.py`` finds them."""
    cfg = cfg.copy()
    cfg.load_from, cfg.work_dir = str(checkpoint), f'{cfg.work_dir}_test'
    add_hook(cfg, type='CheckpointMatchHook', strict=True)
    runner = build_runner(cfg)
    runner.register_hook(ProgressHook(report))
    return {name.removeprefix('DAVIS/'): float(value) for name, value in runner.test().items()}


def evaluate_baseline(videos: list[Video], report: Callable[[float], None]) -> dict[str, float]:
    """The measures of copying the first mask."""
    scores = []
    for video in videos:
        scores.append(evaluate_video(video, copy_first_mask(video)))
        report(BASELINE_COST)
    return global_measures(scores)


def show(cfg: Config, out: Path, video: Video) -> None:
    """Write ``overlay.mp4`` (frame, ground truth, prediction) and ``slots.png`` of one video."""
    sample = VOSDataSample()
    predict_video(init_segmentor(cfg, out / 'stremn.pth'), video, sample)
    scale = max(1, round(360 / video.size[0]))
    pictures = (_three(frame, np.zeros_like(frame), scale) for frame in iterate_frames(video))
    masks = (
        _three(np.zeros(video.size, np.uint8), video.mask(index), scale, decode_palette_png(png))
        for index, png in enumerate(sample.pred_masks)
    )
    write_overlay_video(out / 'overlay.mp4', map(_captioned, pictures), masks)
    timeline = sample.get('slot_timeline')
    if timeline is None:
        raise ValueError('the demo draws the slots of a memory: expected model.memory.type=SlotMemory')
    title = f'Which frames the {timeline.shape[1]} slots held ({video.name}, learned selector)'
    Image.fromarray(draw_slot_timeline(timeline, title)).save(out / 'slots.png')
