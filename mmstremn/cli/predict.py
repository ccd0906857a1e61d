"""``mmstremn predict``."""

import sys
from fractions import Fraction
from pathlib import Path

import click
from rich.console import Console

from mmstremn.apis import PredictionInferencer
from mmstremn.cli.options import FrameRate
from mmstremn.engine.progress import StagedProgress
from mmstremn.visualization import video_writer


@click.command()
@click.argument('video', type=Path)
@click.option('--config', required=True, help='Of a video predictor.')
@click.option('--checkpoint', required=True)
@click.option('--observe', type=click.IntRange(min=1), default=10, show_default=True, help='Frames to see.')
@click.option('--steps', type=click.IntRange(min=1), default=10, show_default=True, help='Frames to predict.')
@click.option('--size', type=int, nargs=2, metavar='H W', help="Of the frames (default: the video's).")
@click.option('--out', type=Path, help='Folder for the results (default: work_dirs/predict/<video>).')
@click.option('--fps', type=FrameRate(), default='5', show_default=True, help='Of the video written.')
@click.option('--device', help='Such as cpu or cuda:0 (default: the GPU if there is one).')
def command(video, config, checkpoint, observe, steps, size, out, fps: Fraction, device):
    """Predict the frames that follow the first ones of VIDEO, a file or a folder of pictures; the folder gets
    prediction.mp4."""
    out = out or Path('work_dirs/predict') / (video.name or video.absolute().name)
    frames = PredictionInferencer(config, checkpoint, device)(video, steps, observe, size)
    progress = StagedProgress(Console(file=sys.stdout), 'frames')
    with (
        progress.running(steps),
        progress.stage(video.name) as report,
        video_writer(out / 'prediction.mp4', fps) as writer,
    ):
        for frame in frames:
            writer.add(frame.repeat(3, 2) if frame.shape[2] == 1 else frame)
            report(1)
    click.echo(f'Written to {out}: prediction.mp4')
