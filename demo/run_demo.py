"""Show, train and test STReMN on embedded videos: ``python demo/run_demo.py --out work_dirs/demo`` (``make
demo``).

First the weights in ``weights/`` segment an embedded test video: ``shipped_overlay.mp4``,
``shipped_overview.png`` (true masks, predicted masks, slots), within a minute. Then a small model is trained:
on short clips first, in which a memory has nothing to choose; from there it is trained with the config's
learned selector and, on the same clips, with FIFO. Both are tested beside the baseline that copies the first
mask. The folder gets ``stremn.pth``, ``fifo.pth``, ``metrics.json``; of one test video ``overlay.mp4``,
``slots.png`` and ``overview.png`` (true masks, predicted masks, slots); ``log.txt``, and the logs of the runs
under ``runs``. On the CPU a seed gives the same figures every time.
"""

import argparse
import os
import platform
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

try:
    import cv2
    import numpy as np
    import torch
    from mmengine.config import Config, DictAction
    from mmengine.registry import DefaultScope
    from PIL import Image
    from rich.console import Console
    from rich.table import Table

    from mmstremn.apis import init_segmentor
    from mmstremn.engine.launch import add_hook, build_runner, load_config, set_max_iters
    from mmstremn.engine.progress import ProgressHook, StagedProgress
    from mmstremn.evaluation import copy_first_mask, evaluate_video, global_measures
    from mmstremn.models import VOSegmentor
    from mmstremn.models.segmentation.inference import predict_video
    from mmstremn.registry import DATASETS, SCOPE
    from mmstremn.structures import VOSDataSample
    from mmstremn.structures.video import Video, iterate_frames
    from mmstremn.utils.atomic import write_json
    from mmstremn.utils.palette import decode_palette_png
    from mmstremn.visualization import draw_film_strip, draw_slot_timeline, write_overlay_video
except ImportError as error:
    from mmstremn.versions import what_to_install

    sys.exit(f'The demo misses a package: {error}. {what_to_install(error)}; or run `make demo`')

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = (
    'shipped_overlay.mp4',
    'shipped_overview.png',
    'shipped_slots.png',
    'stremn.pth',
    'fifo.pth',
    'metrics.json',
    'overlay.mp4',
    'slots.png',
    'overview.png',
    'log.txt',
    'runs',
)
FIFO = {'model.memory.selector._delete_': True, 'model.memory.selector.type': 'FIFOSelector'}
TRAINED = {'stremn': {}, 'fifo': FIFO}  # checkpoint name: changes of the config
SHORT_CLIPS = 'short_clips'
TITLES = {'stremn': 'learned selector', 'fifo': 'FIFO', 'copy_first_mask': 'copy the first mask'}
PACKAGES = ('mmstremn', 'torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'skimage', 'sklearn')
# What a video costs, in training iterations, roughly: for the time left.
TEST_COST, BASELINE_COST, SHOW_COST, SHIPPED_COST = 2.0, 0.1, 2.0, 30.0
# The embedded test video that the shipped weights segment.
SHIPPED_VIDEO = 5, dict(type='SyntheticVOSDataset', split='test', num_videos=6, size=(240, 432))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train, test and show STReMN on synthetic videos')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/demo'), help='folder for all that the demo leaves'
    )
    parser.add_argument(
        '--config', default=str(ROOT / 'configs/stremn_synthetic.py'), help='config of a SlotMemory'
    )
    parser.add_argument(
        '--short-clips',
        default=str(ROOT / 'configs/vos/synthetic_short_clips.py'),
        help='config of the training that comes first and that both memories start from',
    )
    parser.add_argument(
        '--iters', type=int, help="iterations of each of the three trainings (default: the configs')"
    )
    parser.add_argument('--seed', type=int, help="of weights, clips and noise (default: the config's)")
    parser.add_argument('--video', type=int, default=0, help='the test video that is shown')
    parser.add_argument(
        '--shipped-frames', type=int, default=90, help='frames that the shipped weights segment (default: 90)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.shipped_frames < 2:
        parser.error(f'--shipped-frames must be at least 2, got {args.shipped_frames}')
    if args.iters is not None and args.iters < 1:
        parser.error(f'--iters must be at least 1, got {args.iters}')
    args.command = shlex.join(['python', 'demo/run_demo.py', *(sys.argv[1:] if argv is None else argv)])
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    args = parse_args(argv)
    console = Console(file=sys.stdout)
    progress = StagedProgress(console)
    remove_outputs(args.out)
    with open(args.out / 'log.txt', 'w', buffering=1, encoding='utf-8') as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                metrics = run(args, progress)
        except Exception as error:
            traceback.print_exc(file=log)
            print(f'The demo failed while {progress.name}: {type(error).__name__}: {error}', file=sys.stderr)
            print(f'The whole story: {args.out / "log.txt"}', file=sys.stderr)
            return 1
    console.print(result_table(metrics))
    console.print(f'Written to {args.out}: {", ".join(OUTPUTS)}', highlight=False, soft_wrap=True)
    return 0


def remove_outputs(folder: Path) -> None:
    """Make the folder, without what an earlier demo left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / name for name in OUTPUTS):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run(args: argparse.Namespace, progress: StagedProgress) -> dict:
    """All stages; what ``metrics.json`` holds."""
    cfgs = {name: make_config(args, name, args.config) for name in TRAINED}
    short_clips = make_config(args, SHORT_CLIPS, args.short_clips)
    start = args.out / 'runs' / f'{SHORT_CLIPS}.pth'
    cfg = cfgs['stremn']
    videos = build_test_videos(cfg)
    if not 0 <= args.video < len(videos):
        raise ValueError(
            f'--video {args.video}: expected 0..{len(videos) - 1}, a test video of {args.config}'
        )
    results = {}
    per_run = cfg.train_cfg.max_iters + TEST_COST * len(videos)
    total = short_clips.train_cfg.max_iters + per_run * len(cfgs) + BASELINE_COST * len(videos) + SHOW_COST
    total += SHIPPED_COST
    with progress.running(total):
        with progress.stage('segmenting a video with the shipped weights', SHIPPED_COST) as report:
            show_shipped(args)
            report(1)
        with progress.stage('training on short clips') as report:
            train(short_clips, start, report)
        for name in cfgs:
            cfgs[name].load_from = str(start)
            with progress.stage(f'training {TITLES[name]}') as report:
                train(cfgs[name], args.out / f'{name}.pth', report)
            with progress.stage(f'testing {TITLES[name]}', TEST_COST) as report:
                results[name] = test(cfgs[name], args.out / f'{name}.pth', report)
        with progress.stage('copying the first masks', BASELINE_COST) as report:
            results['copy_first_mask'] = evaluate_baseline(videos, report)
        with progress.stage('drawing', SHOW_COST) as report:
            show(init_segmentor(cfg, args.out / 'stremn.pth'), args.out, videos[args.video])
            report(1)
    metrics = dict(results=results, **describe(args, [short_clips, cfg], videos), seconds=progress.seconds)
    write_json(args.out / 'metrics.json', metrics)
    return metrics


def make_config(args: argparse.Namespace, name: str, path: str) -> Config:
    """The config of one of the trainings."""
    options = {**args.cfg_options, **TRAINED.get(name, {})}
    options |= {
        f'val_{part}': None for part in ('cfg', 'dataloader', 'evaluator')
    }  # the demo tests, after training
    options['env_cfg.cudnn_benchmark'] = False
    if args.seed is not None:
        options['randomness.seed'] = args.seed
    work_dir = str(args.out / 'runs' / name)
    cfg = load_config(path, options, work_dir)
    cfg.experiment_name = name
    if args.iters is not None:
        set_max_iters(cfg, args.iters)
    return cfg


def build_test_videos(cfg: Config) -> list[Video]:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE)):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return [dataset[index]['inputs'] for index in range(len(dataset))]


def train(cfg: Config, checkpoint: Path, report: Callable[[int], None]) -> None:
    """Train as ``tools/train.py`` does and move the last checkpoint to ``checkpoint``."""
    runner = build_runner(cfg)
    runner.register_hook(ProgressHook(report))
    runner.train()
    last = Path(cfg.work_dir, 'last_checkpoint')
    os.replace(last.read_text('utf-8'), checkpoint)
    last.unlink()


def test(cfg: Config, checkpoint: Path, report: Callable[[int], None]) -> dict[str, float]:
    """The measures of a checkpoint on the test videos, as ``tools/test.py`` finds them."""
    cfg = cfg.copy()
    cfg.load_from, cfg.work_dir, cfg.experiment_name = (
        str(checkpoint),
        f'{cfg.work_dir}_test',
        f'{cfg.experiment_name}_test',
    )
    add_hook(cfg, type='CheckpointMatchHook', strict=True)
    runner = build_runner(cfg)
    runner.register_hook(ProgressHook(report))
    return {name.removeprefix('DAVIS/'): float(value) for name, value in runner.test().items()}


def evaluate_baseline(videos: list[Video], report: Callable[[int], None]) -> dict[str, float]:
    """The measures of copying the first mask."""
    scores = []
    for video in videos:
        scores.append(evaluate_video(video, copy_first_mask(video)))
        report(1)
    return global_measures(scores)


def show_shipped(args: argparse.Namespace) -> None:
    """Segment an embedded video with the weights of the repository, and show it."""
    index, dataset = SHIPPED_VIDEO
    with DefaultScope.overwrite_default_scope(SCOPE):
        video = DATASETS.build(dict(dataset, num_frames=args.shipped_frames))[index]['inputs']
    weights = str(ROOT / 'weights/stremn_r18.safetensors')
    model = init_segmentor(str(ROOT / 'configs/vos/shipped_stremn.py'), weights)
    show(model, args.out, video, 'shipped_')


def show(model: VOSegmentor, out: Path, video: Video, prefix: str = '') -> None:
    """Write ``overlay.mp4`` (frame, ground truth, prediction), ``slots.png`` and ``overview.png`` of a
    video."""
    sample = VOSDataSample()
    predict_video(model, video, sample)
    if 'slot_timeline' not in sample:
        raise ValueError('the demo shows the slots of a memory: expected model.memory.type=SlotMemory')
    title = f'Which frames the slots held ({video.name}, learned selector)'
    timeline = draw_slot_timeline(sample.slot_timeline, title)
    Image.fromarray(timeline).save(out / f'{prefix}slots.png')
    predictions = [decode_palette_png(png) for png in sample.pred_masks]
    truth = [video.mask(index) for index in range(video.num_frames)]
    strip = draw_film_strip(video, [truth, predictions], width=timeline.shape[1])
    Image.fromarray(np.concatenate([strip, timeline])).save(out / f'{prefix}overview.png')
    masks = (side_by_side(0 * ids, video.mask(index), ids) for index, ids in enumerate(predictions))
    frames = (captioned(side_by_side(frame, frame, frame)) for frame in iterate_frames(video))
    write_overlay_video(out / f'{prefix}overlay.mp4', frames, (captioned(ids, text=False) for ids in masks))


def side_by_side(*pictures: np.ndarray, height: int = 256) -> np.ndarray:
    """Pictures (H, W[, 3]) of one size in a row, enlarged by a whole number to about ``height`` rows, with
    gaps."""
    scale = max(1, round(height / pictures[0].shape[0]))
    large = [picture.repeat(scale, 0).repeat(scale, 1) for picture in pictures]
    gap = np.zeros_like(large[0][:, :4])
    return np.concatenate([large[0], *(part for picture in large[1:] for part in (gap, picture))], 1)


def captioned(picture: np.ndarray, text: bool = True) -> np.ndarray:
    """The row of three pictures with a strip above that names them (empty without ``text``)."""
    strip = np.zeros((24, *picture.shape[1:]), np.uint8)
    for place, caption in enumerate(('frame', 'ground truth', 'prediction') if text else ()):
        left = place * (picture.shape[1] + 4) // 3 + 6
        cv2.putText(
            strip, caption, (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
        )
    return np.concatenate([strip, picture])


def describe(args: argparse.Namespace, cfgs: list[Config], videos: list[Video]) -> dict:
    """What is needed to run the demo again."""
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f'CPU, {torch.get_num_threads()} threads'
    )
    return dict(
        command=args.command,
        configs=[args.short_clips, args.config],
        config_options=TRAINED,
        iterations=[cfg.train_cfg.max_iters for cfg in cfgs],
        seed=cfgs[0].randomness.seed,
        test_videos=[video.name for video in videos],
        shown_video=videos[args.video].name,
        device=device,
        versions=dict(python=platform.python_version())
        | {name: import_module(name).__version__ for name in PACKAGES},
    )


def result_table(metrics: dict) -> Table:
    """J, F and J&F in percent."""
    names = ('J-Mean', 'F-Mean', 'J&F')
    table = Table('', *names, title=f'{len(metrics["test_videos"])} test videos, in percent')
    for name, title in TITLES.items():
        table.add_row(title, *(f'{100 * metrics["results"][name][measure]:.1f}' for measure in names))
    return table


if __name__ == '__main__':
    sys.exit(main())
