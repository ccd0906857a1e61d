"""What could a better choice of the slot win, and what better contents?::

    python studies/choice_headroom/run.py CONFIG CHECKPOINT --memory-file
    configs/_base_/long_memories.py \
        --memories fifo --videos 4 --horizon 30 --out FILE.json

The same model and videos three times: slots are overwritten first in, first out; by a choice that plays every
alternative forward over the next frames and takes the one that is best for the true masks; and first in,
first out with values made from the true masks. The second is what no selector can know, the third what no
choice can give.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.comparison.row_files import file_sha256
from mmstremn.memory import FIFOSelector, SlotMemory
from mmstremn.models import VOSegmentor
from mmstremn.structures.video import Video
from mmstremn.utils.timing import command_line, describe
from studies.choice_headroom.foresight import DirectedFIFO, Frames, segment
from studies.shared import add_study_arguments, frame_scores, model_with_memory, read_arguments

OPTIONS = ('command', 'config', 'checkpoint', 'split', 'horizon')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='What a better choice of the slot could win')
    add_study_arguments(parser, split='dev')
    parser.set_defaults(memories=['fifo'])
    parser.add_argument('--videos', type=int, metavar='N', help='the first N of the split (default: all)')
    parser.add_argument(
        '--horizon', type=int, default=30, metavar='H', help='frames played forward (default: %(default)s)'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    args = parser.parse_args(argv)
    for name in ('videos', 'horizon'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    args.command = command_line('studies/choice_headroom/run.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    console, results = Console(file=sys.stdout), {}
    try:
        cfg, memories, videos = read_arguments(args)
        for name, entry in memories.items():
            model, _ = model_with_memory(cfg, entry, args.checkpoint, args.allow_missing)
            make_directed(model, name)
            results[name] = [row_of(model, video, args.horizon, console) for video in videos[: args.videos]]
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        print(f'choice_headroom: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    for name, rows in results.items():
        console.print(table_of(name, rows, args.horizon))
    if args.out is not None:
        about = describe(args, next(model.parameters()).device.type, OPTIONS)
        about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), memories=memories, results=results)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(about, indent=1) + '\n')
    return 0


def make_directed(model: VOSegmentor, name: str) -> None:
    """Replace the selector of a first-in-first-out memory by one whose choices can be set.

    Raises:
        ValueError: It is another memory.
    """
    if not (isinstance(model.memory, SlotMemory) and isinstance(model.memory.selector, FIFOSelector)):
        raise ValueError(f"memory '{name}': expected a SlotMemory with FIFOSelector")
    model.memory.selector = DirectedFIFO()


def row_of(model: VOSegmentor, video: Video, horizon: int, console: Console) -> dict:
    """J&F of a video each way, and how many choices differ from the rule's."""
    row = dict(video=video.name)
    for way, options in dict(
        rule={}, foresight=dict(horizon=horizon), true_masks=dict(true_masks=True)
    ).items():
        frames = Frames(model, video, held=horizon + 2)
        masks, changed = zip(*segment(model, frames, **options), strict=True)
        row[way] = float(np.nanmean(frame_scores(video, masks)))
        if way == 'foresight':
            row['changed'] = sum(changed)
        console.print(f'{video.name}: {way} {row[way]:.3f}')
    return row


def table_of(name: str, rows: list[dict], horizon: int) -> Table:
    """For the terminal."""
    table = Table(title=f'J&F with {name}')
    for column in ('video', 'rule', f'best over {horizon} frames', 'choices changed', 'true masks stored'):
        table.add_column(column, justify='left' if column == 'video' else 'right')
    for row in rows:
        table.add_row(
            row['video'],
            f'{row["rule"]:.3f}',
            f'{row["foresight"]:.3f}',
            str(row['changed']),
            f'{row["true_masks"]:.3f}',
        )
    means = [f'{np.mean([row[way] for row in rows]):.3f}' for way in ('rule', 'foresight', 'true_masks')]
    table.add_row('mean', means[0], means[1], '', means[2], style='bold')
    return table


if __name__ == '__main__':
    sys.exit(main())
