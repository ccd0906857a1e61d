"""Are the frames of low confidence those whose masks are wrong?::

    python studies/confidence/run.py DAVIS --split dev --out FILE.json

Each video is segmented from its first mask, as ``mmstremn segment`` does; the confidence of every later frame
that has true masks is compared with its J.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.apis import VOSInferencer
from mmstremn.apis.model_names import DEFAULT_MODEL
from mmstremn.comparison.row_files import file_sha256
from mmstremn.datasets import DAVISDataset
from mmstremn.evaluation import region_similarity
from mmstremn.structures.video import VOID, Video
from mmstremn.utils.timing import command_line, describe

WORST, LISTED = 0.1, 0.2  # shares of the frames: by J, and by confidence
OPTIONS = ('command', 'model', 'split')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Confidence and true J of frames')
    parser.add_argument('root', type=Path, help='data in the layout of DAVIS 2017')
    parser.add_argument('--split', default='dev', help='a list of it (default: %(default)s)')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name of a model with weights, or a config')
    parser.add_argument('--checkpoint', help='of a config')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    args = parser.parse_args(argv)
    args.command = command_line('studies/confidence/run.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args, console = parse_args(argv), Console(file=sys.stdout)
    try:
        dataset = DAVISDataset(str(args.root), split=args.split, test_mode=True)
        inferencer = VOSInferencer(args.model, args.checkpoint, device='cpu', precision='float32')
    except (OSError, ValueError, RuntimeError) as error:
        print(f'confidence: {error}', file=sys.stderr)
        return 1
    videos = {}
    for index in range(len(dataset)):
        video = dataset[index]['inputs']
        videos[video.name] = frame_pairs(inferencer, video)
        console.print(f'{video.name}: {len(videos[video.name])} frames')
    rows = {name: agreement(pairs) for name, pairs in videos.items()}
    rows['all'] = agreement([pair for pairs in videos.values() for pair in pairs])
    console.print(table_of(rows))
    if args.out is not None:
        about = describe(args, 'cpu', OPTIONS) | dict(results=rows, confidence_and_j=videos)
        if inferencer.weights is not None:
            about['weights_sha256'] = file_sha256(inferencer.weights)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(about, indent=1) + '\n')
    return 0


def frame_pairs(inferencer: VOSInferencer, video: Video) -> list[tuple[float, float]]:
    """(confidence, J) of the objects of all frames with true masks after the first mask."""
    pairs = []
    first = next(index for index in video.annotated if (video.mask(index) % VOID).any())
    for result in inferencer(video, {first: video.mask(first)}):
        truth = video.mask(result.index) if result.index > first else None
        if truth is None:
            continue
        ids = np.array(list(result.confidence))[:, None, None]
        void = np.broadcast_to(truth == VOID, (len(ids), *truth.shape))
        overlaps = region_similarity(truth == ids, result.ids == ids, void)
        pairs += zip(result.confidence.values(), np.round(overlaps, 4).tolist(), strict=True)
    return pairs


def agreement(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """How well confidence orders masks by J.

    Returns:
        ``spearman``: the rank correlation; NaN where all are equal. ``found``: how many of the ``worst`` by J
        are among the ``listed`` by confidence. ``j_listed`` and ``j_others``: mean J of those and the rest.
    """
    confidence, overlap = np.array(pairs).T
    worst, listed = (math.ceil(share * len(pairs)) for share in (WORST, LISTED))
    by_j, by_confidence = (np.argsort(values, kind='stable') for values in (overlap, confidence))
    return dict(
        frames=len(pairs),
        spearman=float(spearmanr(confidence, overlap).statistic),
        worst=worst,
        listed=listed,
        found=len(set(by_j[:worst].tolist()) & set(by_confidence[:listed].tolist())),
        j_listed=float(overlap[by_confidence[:listed]].mean()),
        j_others=float(overlap[by_confidence[listed:]].mean()),
    )


def table_of(rows: dict[str, dict]) -> Table:
    """For the terminal."""
    table = Table(title='Confidence and true J')
    for column in ('video', 'frames', 'rank correlation', 'worst found', 'J listed', 'J of the others'):
        table.add_column(column, justify='left' if column == 'video' else 'right')
    for name, row in rows.items():
        figures = (f'{row[key]:.3f}' for key in ('j_listed', 'j_others'))
        found = f'{row["found"]} of {row["worst"]}'
        table.add_row(name, str(row['frames']), f'{row["spearman"]:.2f}', found, *figures)
    return table


if __name__ == '__main__':
    sys.exit(main())
