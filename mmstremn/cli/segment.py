"""``mmstremn segment``: reads, computes and writes in parallel, and goes on where it was stopped."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from queue import Queue
from typing import TypeAlias

import click
import numpy as np
from mmengine.config import Config
from rich.console import Console

from mmstremn.apis import OUTPUTS, OutputInfo, VOSInferencer, VOSSession, open_outputs
from mmstremn.apis.outputs import DEFAULT_OUTPUTS, FILES, Outputs, Review
from mmstremn.apis.plan import DIRECTIONS, MERGES, Plan
from mmstremn.apis.results import FrameResult
from mmstremn.apis.session import check_takes
from mmstremn.apis.vos_inferencer import PRECISIONS, read_given
from mmstremn.cli.options import (
    ConfigCommand,
    FrameAndFile,
    FrameAndObject,
    FrameRate,
    Label,
    PlaceInFrame,
    StoredVideo,
    choose_model,
    default_out,
)
from mmstremn.datasets.io.frame_sources import open_source
from mmstremn.engine.progress import StagedProgress
from mmstremn.registry import find
from mmstremn.structures import GivenIds
from mmstremn.structures.prompts import GivenPrompts
from mmstremn.structures.video import Video, mask_ids
from mmstremn.utils.atomic import check_folder
from mmstremn.utils.lock import hold_folder

QUEUED = 8  # frames that wait for the writers
SESSION = '.session'  # folder below the outputs that --resume goes on with
NOT_SURE = 0.7  # confidence below which frames are named at the end

Place: TypeAlias = tuple[int, int, tuple[float, ...]]
"""Frame, object and numbers of a point or a box."""


@click.command(cls=ConfigCommand)
@click.argument('video', type=StoredVideo())
@click.option(
    '--mask',
    type=Path,
    help='Mask of the first frame: ids, black and white, or a colour per object; empty: see --mask-at.',
)
@click.option(
    '--mask-at',
    type=FrameAndFile(),
    multiple=True,
    help='A further mask: new ids add objects, known ids correct them. May be given several times.',
)
@click.option(
    '--remove',
    'removed',
    type=FrameAndObject(),
    multiple=True,
    help='An object is in no frame from this one on, until a later mask shows it again. Several times.',
)
@click.option(
    '--point',
    'points',
    type=PlaceInFrame('X,Y[,LABEL]', '1:120,80 or 33:1:120,80,0', (2, 3)),
    multiple=True,
    help='A pixel of an object (label 1) or beside it (0), for models that take points. Several times.',
)
@click.option(
    '--box',
    'boxes',
    type=PlaceInFrame('X1,Y1,X2,Y2', '1:100,60,180,140', (4,)),
    multiple=True,
    help='The box around an object, likewise.',
)
@click.option('--model', help='Name of a model that comes with weights: see `mmstremn weights`.')
@click.option('--config', help='Of another model.')
@click.option('--checkpoint', help="The other model's.")
@click.option('--cfg-options', multiple=True, metavar='KEY=VALUE...', help='Changes of the config.')
@click.option('--out', type=Path, help='Folder for the results (default: work_dirs/segment/<video>).')
@click.option(
    '--output',
    'outputs',
    type=click.Choice(list(OUTPUTS)),
    multiple=True,
    help=f'What to write; may be given several times (default: {", ".join(DEFAULT_OUTPUTS)}).',
)
@click.option('--label', 'labels', type=Label(), multiple=True, help='Name of an object, for annotations.')
@click.option('--direction', type=click.Choice(DIRECTIONS), default='both', show_default=True)
@click.option(
    '--merge',
    type=click.Choice(MERGES),
    default='nearer',
    show_default=True,
    help='Where masks of two frames meet.',
)
@click.option(
    '--short-side',
    type=click.IntRange(min=1),
    help="Compute at this size (default: the config's model.short_side).",
)
@click.option('--device', help='Such as cpu or cuda:0 (default: the GPU if there is one).')
@click.option(
    '--precision',
    type=click.Choice(PRECISIONS),
    default='auto',
    show_default=True,
    help='auto: as the config says; where it says nothing, bfloat16 on a CPU with units for it (AMX).',
)
@click.option(
    '--fps', type=FrameRate(), help="Of the videos written (default: the video's, 15 for pictures)."
)
@click.option('--resume', is_flag=True, help='Go on with a run into the same folder that was stopped.')
def command(
    video,
    mask,
    mask_at,
    removed,
    points,
    boxes,
    out,
    outputs,
    labels,
    model,
    config,
    checkpoint,
    cfg_options,
    **options,
):
    """Segment VIDEO, a file or a folder of pictures, from masks of its first frame or of any others.

    Trackers such as Sam2Segmentor also take points and boxes.

    Outputs appear in the folder when they are complete. Of a run that is stopped the masks found so far are
    kept for --resume.
    """
    given = [(0, mask)] * (mask is not None) + list(mask_at)
    if not given and not points and not boxes:
        raise click.UsageError(
            'no objects: expected --mask FIRST.png (ids, or white on black), --mask-at FRAME:FILE, --point '
            'or --box; `mmstremn app` draws masks'
        )
    out = out or default_out('segment', video)
    names = list(outputs or DEFAULT_OUTPUTS)
    check_out(out, names, [video, *(path for _, path in given)])
    source = open_source(video)
    masks = with_places(source, read_masks(source, given) if given else {}, points, boxes)
    removals = removals_of(removed)
    check_removals(source, masks, removals)
    cfg, weights = choose_model(model, config, checkpoint, cfg_options)
    segment(source, masks, cfg, weights, out, names, dict(labels), removals=removals, **options)


def check_out(out: Path, names: list[str], inputs: list[Path]) -> None:
    """Raises a UsageError where ``out`` cannot be written or is the folder of the frames, or an input lies in
    a folder that is replaced."""
    try:
        check_folder(out)
    except NotADirectoryError as error:
        raise click.UsageError(f'{error}: take another --out') from None
    if out.resolve() == inputs[0].resolve():
        raise click.UsageError(f'{out} is the video itself: take another --out')
    for folder in (out / FILES[name] for name in names if '.' not in FILES[name]):
        for path in inputs:
            if folder.resolve() in (path.resolve(), *path.resolve().parents):
                raise click.UsageError(
                    f'{path} lies in {folder}, whose pictures are replaced: take another --out'
                )


def read_masks(video: Video, given: list[tuple[int, Path]]) -> dict[int, np.ndarray | GivenPrompts]:
    """The masks of files by frame.

    Raises:
        ValueError: Two are of one frame, or they do not fit the video.
    """
    frames = [frame for frame, _ in given]
    if len(set(frames)) < len(frames):
        twice = next(frame for frame in frames if frames.count(frame) > 1)
        raise ValueError(f'frame {twice}: expected one mask, got several')
    return read_given(video, dict(given))


def with_places(
    video: Video, masks: dict, points: tuple[Place, ...], boxes: tuple[Place, ...]
) -> dict[int, np.ndarray | GivenPrompts]:
    """What is given by frame: masks, points and boxes; points and boxes of an object that has a mask in the
    same frame refine it.

    Raises:
        ValueError: An object has two boxes in a frame, or they do not fit the video.
    """
    given: dict[int, dict] = {}
    for name, places in dict(points=points, boxes=boxes).items():
        for frame, number, numbers in places:
            of_frame = given.setdefault(frame, dict(masks=masks.get(frame), points={}, boxes={}))
            labelled = (*numbers, 1) if len(numbers) == 2 else numbers
            of_frame[name].setdefault(number, []).append(labelled)
    for frame, of_frame in given.items():
        for number, several in of_frame['boxes'].items():
            if len(several) > 1:
                raise ValueError(
                    f'--box: frame {frame}, object {number}: expected one box, got {len(several)}'
                )
            of_frame['boxes'][number] = several[0]
    return read_given(video, {**masks, **given}) if given else masks


def removals_of(removed: tuple[tuple[int, int], ...]) -> dict[int, set[int]]:
    """The objects that are removed, by frame."""
    removals: dict[int, set[int]] = {}
    for frame, number in removed:
        removals.setdefault(frame, set()).add(number)
    return removals


def check_removals(
    video: Video, masks: dict[int, np.ndarray | GivenPrompts], removals: dict[int, set[int]]
) -> None:
    """Raises a ValueError where an object is not there to be removed."""
    given = {
        frame: GivenIds(mask, sorted(mask_ids(mask) - {0})) if isinstance(mask, np.ndarray) else mask
        for frame, mask in masks.items()
    }
    Plan(given, video.num_frames, removals=removals)


def segment(
    video: Video,
    masks: dict[int, np.ndarray | GivenPrompts],
    cfg: Config,
    weights: str | None,
    out: Path,
    names: list[str],
    labels: dict[int, str],
    direction: str = 'both',
    merge: str = 'nearer',
    short_side: int | None = None,
    device: str | None = None,
    precision: str = 'auto',
    fps: Fraction | None = None,
    resume: bool = False,
    removals: dict[int, set[int]] | None = None,
) -> None:
    """Segment ``video`` and write the outputs ``names`` to the folder ``out``, in the place of earlier
    results."""
    if short_side is not None and (cfg.model.get('test_time') or {}).get('short_sides'):
        raise ValueError('--short-side: the config has model.test_time.short_sides, expected one of the two')
    kind = cfg.model.type if isinstance(cfg.model.type, type) else find(cfg.model.type)
    known: set[int] = set()
    for frame, given in masks.items():
        check_takes(kind, given, f'of frame {frame} of {video.name}')
        known |= set(given.objects) if isinstance(given, GivenPrompts) else mask_ids(given) - {0}
    if unknown := sorted(labels.keys() - known):
        raise ValueError(f'--label: no object {unknown[0]}, expected one of {sorted(known)}')
    inferencer = VOSInferencer(cfg, weights, device, short_side, precision)
    hold_folder(out, '--out')
    folder = out / SESSION
    if folder.exists() and not resume:
        click.echo(f'{folder}: a run that was stopped; it begins anew, --resume goes on with it', err=True)
        shutil.rmtree(folder)
    if resume and not folder.exists():
        click.echo(f'--resume: no run into {out} that was stopped; it begins anew', err=True)
    about = dict(
        video=str(video.path.resolve()) if hasattr(video, 'path') else video.name,
        weights=weights and str(Path(weights).resolve()),
        model=cfg.model.to_dict(),
        short_side=getattr(inferencer.model, 'short_side', None),
        direction=direction,
        precision=getattr(inferencer.model, 'precision', None),
    )
    with VOSSession(
        inferencer.model, video, masks, direction, merge, folder, about, removals=removals
    ) as session:
        listed = write_results(session, out, names, OutputInfo.of(video, labels, fps))
    shutil.rmtree(folder)
    found = [FILES[name] for name in names if (out / FILES[name]).exists()]
    click.echo(f'Written to {out}: {", ".join(found)}')
    if listed:
        places = ', '.join(f'{frame} ({confidence:.2f})' for confidence, frame, _ in listed)
        click.echo(f'Look at these frames first (confidence): {places}')


def write_results(
    session: VOSSession, out: Path, names: list[str], info: OutputInfo
) -> list[tuple[float, int, int]]:
    """Compute and write the outputs ``names``; at most five frames of which the model is not sure."""
    progress, done = StagedProgress(Console(file=sys.stdout), 'frames'), session.video.num_frames
    review, pending = Review(), len(session.pending())
    if pending < done:
        click.echo(f'{done - pending} of {done} frames need no computing')
    with (
        progress.running(max(1, pending)),
        progress.stage(session.video.name) as report,
        open_outputs(out, names, info) as outputs,
        _written_behind(outputs) as write,
    ):
        for result in session.run_in_order(report):
            review.add(result)
            write(result)
    seconds = max(progress.seconds[session.video.name], 1e-3)
    click.echo(f'{done} frames, {done / seconds:.1f} a second with decoding and writing')
    return [entry for entry in review.frames(5) if entry[0] < NOT_SURE]


@contextmanager
def _written_behind(outputs: Outputs) -> Iterator[Callable[[FrameResult], None]]:
    """A function that gives results to a thread that writes them; few wait there at a time."""
    queue: Queue[FrameResult | None] = Queue(QUEUED)
    failed: list[BaseException] = []

    def work() -> None:
        while (result := queue.get()) is not None:
            try:
                if not failed:
                    outputs.add(result)
            except BaseException as error:
                failed.append(error)

    def write(result: FrameResult) -> None:
        if failed:
            raise failed[0]
        queue.put(result)

    thread = threading.Thread(target=work, name='writer')
    thread.start()
    try:
        yield write
    finally:
        queue.put(None)
        thread.join()
    if failed:
        raise failed[0]
