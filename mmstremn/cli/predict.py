"""``mmstremn predict``."""

import sys
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from mmstremn.apis import PredictionInferencer
from mmstremn.cli.options import ConfigCommand, FrameRate, StoredVideo, default_out, parse_cfg_options
from mmstremn.datasets.io.frame_sources import open_source
from mmstremn.engine.launch import latest_checkpoint
from mmstremn.engine.progress import StagedProgress
from mmstremn.evaluation import measure_frames
from mmstremn.models import VideoPredictor
from mmstremn.registry import find
from mmstremn.utils.shipped_files import read_config
from mmstremn.visualization import prediction_writer

NUMBER = click.IntRange(min=1)


@click.command(cls=ConfigCommand)
@click.argument('video', type=StoredVideo())
@click.option('--config', required=True, help='Of a video predictor.')
@click.option('--checkpoint', help='Default: what tools/train.py left in work_dirs/<name of the config>.')
@click.option('--cfg-options', multiple=True, metavar='KEY=VALUE...', help='Changes of the config.')
@click.option('--observe', type=NUMBER, help="Frames that the model sees (default: the config's).")
@click.option('--steps', type=NUMBER, help="Frames to predict (default: the config's).")
@click.option('--size', type=NUMBER, nargs=2, metavar='H W', help="Of the frames (default: the config's).")
@click.option('--crop', is_flag=True, help='Cut frames to the proportions of the size, do not stretch them.')
@click.option('--out', type=Path, help='Folder for the results (default: work_dirs/predict/<video>).')
@click.option('--fps', type=FrameRate(), default='5', show_default=True, help='Of the video written.')
@click.option('--device', help='Such as cpu or cuda:0 (default: the GPU if there is one).')
def command(
    video, config, checkpoint, cfg_options, observe, steps, size, crop, out, fps: Fraction, device
) -> None:
    """Predict the frames that follow the first ones of VIDEO, a file or a folder of pictures.

    The folder gets prediction.png, true frames above the predicted ones, and prediction.mp4, the input and
    then the prediction beside the video. PSNR is printed where the video goes on.
    """
    out = out or default_out('predict', video)
    source = open_source(video)
    cfg = read_config(config, parse_cfg_options(cfg_options))
    if checkpoint is None and not issubclass(kind := find(cfg.model.type), VideoPredictor):
        raise click.UsageError(
            f'--config: {config} is of a {kind.__name__}: expected that of a video predictor with a memory'
        )
    inferencer = PredictionInferencer(cfg, checkpoint or trained_checkpoint(config), device)
    steps, observe = steps or inferencer.steps, observe or inferencer.observe
    results = inferencer(source, steps, observe, size, crop)
    progress, comparison = StagedProgress(Console(file=sys.stdout), 'frames'), Comparison()
    with (
        progress.running(observe + steps),
        progress.stage(source.name) as report,
        prediction_writer(out / 'prediction', steps, fps) as writer,
    ):
        for result in results:
            frame, true = _planes(result.frame), None if result.true is None else _planes(result.true)
            if result.observed:
                writer.add_observed(frame)
            else:
                writer.add_predicted(frame, true)
            comparison.add(frame, true, result.observed)
            report(1)
    comparison.show()
    click.echo(f'Written to {out}: prediction.png, prediction.mp4')


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


def _planes(frame: np.ndarray) -> np.ndarray:
    """(C, H, W) of (H, W, C)."""
    return frame.transpose(2, 0, 1)


class Comparison:
    """PSNR of the predicted frames whose truth is known, and of the last observed one in their places."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._psnr: dict[str, list[float]] = {'predicted frames': [], 'the last observed frame': []}

    def add(self, frame: np.ndarray, true: np.ndarray | None, observed: bool) -> None:
        """Frames (C, H, W) uint8 in their order."""
        if observed:
            self._last = frame
        elif true is not None:
            for name, guess in zip(self._psnr, (frame, self._last), strict=True):
                measured = measure_frames(guess[None] / 255, true[None], measures=['PSNR'])
                self._psnr[name].append(float(measured['PSNR'][0]))

    def show(self) -> None:
        """Print the means."""
        for name, found in self._psnr.items():
            if found:
                click.echo(f'PSNR of {name} over {len(found)} frames: {np.mean(found):.2f} dB')
