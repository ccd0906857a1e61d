"""Predict how a clip goes on: ``python demo/predict_demo.py CLIP --checkpoint FILE``.

The model sees the first frames of the clip and predicts the next ones from its own predictions, for any
number of steps. The folder gets ``prediction.png`` (true frames above the predicted ones) and
``prediction.mp4`` (the input and then the prediction, beside the clip itself).
"""

import argparse
import sys
from pathlib import Path

try:
    import numpy as np
    import torch
    from mmengine.config import Config, DictAction
    from rich.console import Console

    from mmstremn.apis import init_predictor
    from mmstremn.datasets.prediction.base import as_tensor
    from mmstremn.datasets.prediction.clips import ClipFormat
    from mmstremn.datasets.prediction.sources import FrameSource, VideoFrames, picture_folder
    from mmstremn.engine.launch import latest_checkpoint
    from mmstremn.engine.progress import StagedProgress
    from mmstremn.models import VideoPredictor
    from mmstremn.visualization import write_prediction
except ImportError as error:
    from mmstremn.versions import what_to_install

    sys.exit(f'predict_demo: {error}. {what_to_install(error)}')

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'configs/prediction/stremn_moving_digits.py'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Predict how a clip goes on')
    parser.add_argument('clip', type=Path, help='video file (mp4, avi, gif, ...) or folder of pictures')
    parser.add_argument(
        '--config', default=str(CONFIG), help='config of a video predictor (default: %(default)s)'
    )
    parser.add_argument(
        '--checkpoint', help='default: what tools/train.py left in work_dirs/<name of the config>'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    parser.add_argument(
        '--observe', type=int, metavar='N', help="frames the model sees (default: the config's)"
    )
    parser.add_argument('--steps', type=int, metavar='N', help="frames to predict (default: the config's)")
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help="of the frames (default: the config's)"
    )
    parser.add_argument(
        '--crop', action='store_true', help='cut frames to the proportions of the size, do not stretch them'
    )
    parser.add_argument(
        '--out', type=Path, help='folder for the results (default: work_dirs/predict_demo/<clip>)'
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: the GPU if there is one)')
    parser.add_argument(
        '--fps', type=int, default=5, help='frames a second of the video (default: %(default)s)'
    )
    args = parser.parse_args(argv)
    for name in ('observe', 'steps', 'fps'):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f'--{name} must be at least 1, got {value}')
    if args.out is None:
        name = args.clip.name if args.clip.is_dir() else args.clip.stem
        args.out = Path('work_dirs/predict_demo') / (name or args.clip.absolute().name)
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    args = parse_args(argv)
    try:
        cfg = read_config(args)
        source = open_clip(args.clip)
        observed, true = read_clip(source, cfg, args)
        model = init_predictor(cfg, args.checkpoint or trained_checkpoint(args.config), args.device)
        predicted = predict(model, observed, args.steps)
        write_prediction(args.out / 'prediction', observed, true, predicted, args.fps)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f'predict_demo: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    if len(true):
        print_errors(observed, true, predicted[: len(true)])
    print(f'Written to {args.out}: prediction.png, prediction.mp4')
    return 0


def read_config(args: argparse.Namespace) -> Config:
    """The config, and from it the arguments that were left out.

    Raises:
        FileNotFoundError: There is no config.
        ValueError: It is not of a video predictor.
    """
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'config {args.config}: no such file')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    data = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    for name, key in (('observe', 'input_frames'), ('steps', 'output_frames'), ('size', 'size')):
        if getattr(args, name) is None:
            if key not in data:
                raise ValueError(
                    f'config {args.config}: expected one of a video predictor, with '
                    f'test_dataloader.dataset.{key}; '
                    f'or give --{name}'
                )
            setattr(args, name, data[key])
    args.size = (args.size, args.size) if isinstance(args.size, int) else tuple(args.size)
    return cfg


def open_clip(path: Path) -> FrameSource:
    """A video file or a folder of pictures.

    Raises:
        FileNotFoundError: There is nothing.
        ValueError: It holds no video; the message names the file.
    """
    if not path.is_dir():
        return VideoFrames(path, path.stem)
    pictures = picture_folder(path, path.name)
    pictures.check()
    return pictures


def read_clip(
    source: FrameSource, cfg: Config, args: argparse.Namespace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Observed frames (T', C, H, W) uint8, and those that follow, as many as there are of the steps.

    Raises:
        ValueError: The clip is too short, or a frame cannot be read.
    """
    held = len(source.numbers)
    if held < args.observe:
        raise ValueError(
            f'{source.path}: {held} frames, expected at least the {args.observe} that the model is to see'
        )
    length = min(held, args.observe + args.steps)
    clip_format = ClipFormat(length, args.size, cfg.model.get('frame_channels', 1), crop=args.crop)
    frames = as_tensor(clip_format.read(source, int(source.numbers[0]))[1])
    return frames[: args.observe], frames[args.observe :]


def trained_checkpoint(config: str) -> str:
    """The best checkpoint of a training with ``tools/train.py``, else the last.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = Path('work_dirs') / Path(config).stem
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if best:
        return str(best[-1])
    if last := latest_checkpoint(folder):
        return last
    raise FileNotFoundError(
        f'{folder}: no checkpoint; train with `python tools/train.py {config}` first or give --checkpoint'
    )


def predict(model: VideoPredictor, observed: torch.Tensor, steps: int) -> torch.Tensor:
    """The next frames (T, C, H, W), clipped to 0..1; the stream holds no more than its memory and its last
    frames."""
    progress = StagedProgress(Console(file=sys.stdout))
    total = len(observed) + steps
    with progress.running(total), progress.stage('predicting') as report:
        stream = model.start(observed[0].float() / 255)
        report(1)
        for frame in observed[1:]:
            stream.step(frame.float() / 255)
            report(1)
        predicted = []
        for _ in range(steps):
            predicted.append(stream.step().clamp(0, 1).cpu())
            report(1)
    print(f'{total} frames, {total / max(progress.seconds["predicting"], 1e-3):.1f} a second')
    return torch.stack(predicted)


def print_errors(observed: torch.Tensor, true: torch.Tensor, predicted: torch.Tensor) -> None:
    """PSNR of the predicted frames whose truth the clip holds, and of repeating the last observed one."""
    for name, frames in (('predicted frames', predicted), ('the last observed frame', observed[-1:] / 255)):
        error = (frames - true / 255).square().mean((1, 2, 3)).clamp_min(1e-10).numpy()
        print(f'PSNR of {name} over {len(true)} frames: {np.mean(-10 * np.log10(error)):.2f} dB')


if __name__ == '__main__':
    sys.exit(main())
