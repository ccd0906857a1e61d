"""Look at a data set as a model gets it: ``python tools/analysis_tools/browse_dataset.py CONFIG``.

Every item becomes one picture: the frames of a training clip after its pipeline, or evenly spaced frames of a
test video, side by side; masks are drawn over them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from mmengine.config import DictAction
from PIL import Image

from mmstremn.engine.launch import load_config
from mmstremn.registry import DATASETS
from mmstremn.visualization import overlay

COLUMNS = 8
GAP = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Browse a data set')
    parser.add_argument('config', help='config file')
    parser.add_argument('--output-dir', type=Path, metavar='DIR', help='write the pictures there')
    parser.add_argument('--not-show', action='store_true', help='open no window')
    parser.add_argument('--show-interval', type=float, default=2, help='seconds a picture is shown')
    parser.add_argument('-p', '--phase', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('-n', '--show-number', type=int, metavar='N', help='items (default: all)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if args.not_show and args.output_dir is None:
        parser.error('--not-show without --output-dir: nothing would be shown or written')
    return args


def pictures(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray]]:
    """A name and a picture (H, W, 3) uint8 RGB of each item.

    Raises:
        KeyError: The config has no data set of that phase.
    """
    cfg = load_config(args.config, args.cfg_options)
    loader = cfg.get(f'{args.phase}_dataloader') or {}
    if 'dataset' not in loader:
        raise KeyError(f'{args.config}: no {args.phase}_dataloader.dataset')
    dataset = DATASETS.build(loader['dataset'])
    for index in range(min(len(dataset), args.show_number or len(dataset))):
        item = dataset[index]
        sample = item['data_samples']
        name = sample.get('video_name', None) or sample.get('clip_name', None) or 'item'
        yield f'{index:05d}_{str(name).replace("/", "_")}', side_by_side(list(frames_of(item)))


def frames_of(item: dict) -> Iterator[np.ndarray]:
    """(H, W, 3) frames of an item, with their masks where it has some."""
    inputs, sample = item['inputs'], item['data_samples']
    count = getattr(inputs, 'num_frames', None) or len(inputs)
    for index in np.unique(np.linspace(0, count - 1, COLUMNS).round().astype(int)).tolist():
        if hasattr(inputs, 'frame'):  # a whole video
            frame, mask = inputs.frame(index), inputs.mask(index)
        else:
            frame = inputs[index].permute(1, 2, 0).numpy()
            mask = sample.masks[index].numpy() if 'masks' in sample else None
        frame = np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3)))
        yield frame if mask is None else overlay(frame, mask)


def side_by_side(frames: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(
        [np.pad(f, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255) for f in frames], 1
    )


def show(name: str, picture: np.ndarray, seconds: float) -> None:
    """Open it in a window for some seconds."""
    from matplotlib import pyplot as plt

    plt.figure(num='browse_dataset', clear=True)
    plt.imshow(picture)
    plt.title(name)
    plt.axis('off')
    plt.pause(seconds)


def main(argv: list[str] | None = None) -> int:
    """Show and write the pictures; the exit code."""
    args = parse_args(argv)
    if args.not_show:
        matplotlib.use('agg')
    written = 0
    try:
        for name, picture in pictures(args):
            if args.output_dir is not None:
                args.output_dir.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(args.output_dir / f'{name}.png')
                written += 1
            if not args.not_show:
                show(name, picture, args.show_interval)
    except (OSError, KeyError, ValueError) as error:
        print(f'browse_dataset: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    if args.output_dir is not None:
        print(f'{written} pictures written to {args.output_dir}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
