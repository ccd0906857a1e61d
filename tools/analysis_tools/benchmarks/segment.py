"""Time ``mmstremn segment``: a rendered video, decoded, segmented and written, and where the time goes.

Smooth pictures that move to the right, with upright stripes as objects, in an mp4 file. The precisions take
turns, in changing order. Steps are counted in milliseconds of CPU time of the thread that does them, so that
other work on the machine moves them little: give ``--threads 1``, as torch's further threads are not
counted. ``rest`` is what remains of the process's CPU time: the frames' way in and out, results on disk,
threads of the video encoder.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
from benchmarks.shared import Outcome, add_arguments as add_common, add_size, check_objects
from benchmarks.videos import moving_picture
from rich import box
from rich.console import Console
from rich.table import Table

from mmstremn.apis import OutputInfo, VOSInferencer, VOSSession, named_models
from mmstremn.apis.outputs import DEFAULT_OUTPUTS, Outputs
from mmstremn.cli.segment import write_results
from mmstremn.datasets.io.frame_sources import open_source
from mmstremn.datasets.io.video_file import VideoFile
from mmstremn.models import VOSegmentor
from mmstremn.utils.timing import describe_device, median_ratio, peak_resident_bytes, time_alternately
from mmstremn.visualization import write_video

STEPS = ('decode frame', 'key', 'read', 'decode mask', 'value', 'write', *DEFAULT_OUTPUTS, 'rest')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('--model', default='stremn_r18_presence', choices=list(named_models()))
    parser.add_argument('--precisions', nargs='+', default=['float32', 'bfloat16'], metavar='P')
    parser.add_argument('--objects', type=int, default=1)
    parser.add_argument('--frames', type=int, default=30, help='of the video')
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    add_size(parser)
    add_common(parser, turns=3)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        ValueError: Too many objects for the width, or fewer than two frames.
    """
    check_objects([args.objects], args.size[1])
    if args.frames < 2:
        raise ValueError('--frames: expected at least 2')


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print the table."""
    models = {
        name: VOSInferencer(args.model, device=args.device, precision=name).model for name in args.precisions
    }
    device = next(next(iter(models.values())).parameters()).device
    stripes = np.arange(args.size[1]) * (args.objects + 1) // args.size[1]
    mask = np.broadcast_to(stripes.astype(np.uint8), args.size)
    before = peak_resident_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'video.mp4'
        write_video(path, moving_picture(tuple(args.size), args.frames, args.seed))
        clocks = {name: StepClock(model) for name, model in models.items()}
        functions = {name: partial(play, model, path, mask, clocks[name]) for name, model in models.items()}
        times = time_alternately(functions, args.turns, device)
    rows = {name: figures(times[name], clocks[name].turns[1:], args.frames) for name in models}
    first = args.precisions[0]
    for name, row in rows.items():
        row[f'ratio_to_{first}'] = median_ratio(times[name], times[first])
    console.print(result_table(rows))
    found = dict(results=rows, peak_bytes_before=before, peak_bytes=peak_resident_bytes())
    return Outcome(describe_device(device), found, [])


class StepClock:
    """CPU milliseconds of the steps of a run while it is entered.

    Args:
        model: Whose steps are clocked.

    Attributes:
        turns: By step, of each time it was entered; the whole process's time is ``'all'``.
    """

    def __init__(self, model: VOSegmentor):
        self.model, self.turns = model, []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Clock what runs in the block."""
        spent, model = defaultdict(float), self.model
        methods = (
            ('decode frame', VideoFile, 'frame'),
            ('key', model, 'encode_frame'),
            ('read', model.memory, 'read'),
            ('decode mask', model, 'decode'),
            ('value', model, 'encode_value'),
            ('write', model.memory, 'write'),
        )

        def timed(step: str, method: Callable) -> Callable:
            def call(*args, **kwargs):
                begin = time.thread_time()
                try:
                    return method(*args, **kwargs)
                finally:
                    spent[step] += 1000 * (time.thread_time() - begin)

            return call

        def add(outputs: Outputs, result) -> None:
            for name, writer in outputs.writers.items():
                timed(name, writer.add)(result)

        begin = time.process_time()
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(Outputs, 'add', add))
            for step, owner, name in methods:
                stack.enter_context(mock.patch.object(owner, name, timed(step, getattr(owner, name))))
            yield
        self.turns.append(dict(spent, all=1000 * (time.process_time() - begin)))


def play(model: VOSegmentor, path: Path, mask: np.ndarray, clock: StepClock) -> None:
    """Segment the video and write the default outputs, as the command does."""
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()), clock.running():
        video = open_source(str(path))
        with VOSSession(model, video, {0: mask}, folder=Path(out) / 'session') as session:
            write_results(session, Path(out), list(DEFAULT_OUTPUTS), OutputInfo.of(video, {}, None))


def figures(times: list[float], turns: list[dict], frames: int) -> dict:
    """Milliseconds a frame: wall time of each turn, medians of the steps' CPU time."""
    steps = {
        step: statistics.median(turn.get(step, 0.0) for turn in turns) / frames for step in (*STEPS, 'all')
    }
    steps['rest'] = steps['all'] - sum(steps[step] for step in STEPS)
    return dict(
        frames_per_second=1000 * frames / statistics.median(times),
        cpu_ms_per_frame={step: round(value, 2) for step, value in steps.items()},
        ms_per_frame=[round(value / frames, 1) for value in times],
    )


def result_table(rows: dict[str, dict]) -> Table:
    """A column for each precision."""
    table = Table('CPU ms a frame', *rows, box=box.MARKDOWN)
    for step in (*STEPS, 'all'):
        table.add_row(step, *(f'{row["cpu_ms_per_frame"][step]:.1f}' for row in rows.values()))
    table.add_row('frames a second', *(f'{row["frames_per_second"]:.2f}' for row in rows.values()))
    return table
