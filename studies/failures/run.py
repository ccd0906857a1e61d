"""Draw where predictions are worst::

    python studies/failures/run.py CONFIG CHECKPOINT --memories fifo gumbel --out FILE.png

For each video and memory the stretch with the lowest mean J&F: above the frames with the outline of the
truth, below the prediction over them. The videos shown are those with the lowest such means.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

try:
    import numpy as np

    from mmstremn.utils.palette import decode_palette_png
    from studies.failures.gallery import Failure, draw_gallery, worst_stretch
    from studies.shared import (
        add_study_arguments,
        frame_scores,
        model_with_memory,
        predicted,
        read_arguments,
    )
except ImportError as error:
    sys.exit(f'The gallery misses a package: {error}. Install it with: pip install -e ".[mm,analysis]"')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw where predictions are worst',
        epilog='Pictures of the embedded synthetic videos may be committed and published. Pictures of '
        'research data such '
        'as DAVIS or YouTube-VOS must never be: keep them outside of the repository.',
    )
    add_study_arguments(parser, split='test')
    parser.add_argument('--videos', type=int, default=4, metavar='N', help='shown (default: %(default)s)')
    parser.add_argument(
        '--frames', type=int, default=6, metavar='N', help='of each stretch (default: %(default)s)'
    )
    parser.add_argument(
        '--step', type=int, default=5, metavar='N', help='from frame to frame (default: %(default)s)'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='picture, e.g. a .png')
    args = parser.parse_args(argv)
    for name in ('videos', 'frames', 'step'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Predict and draw; the exit code."""
    args = parse_args(argv)
    try:
        figure = draw_gallery(find_failures(args))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f'failures: {message}', file=sys.stderr)
        return 1
    return 0


def find_failures(args: argparse.Namespace) -> list[Failure]:
    """The worst stretches of all memories in the worst videos, side by side the memories of one video."""
    cfg, memories, videos = read_arguments(args)
    failures = {video.name: [] for video in videos}
    for name, entry in memories.items():
        model, missing = model_with_memory(cfg, entry, args.checkpoint, args.allow_missing)
        if missing:
            print(f'{name}: random are {", ".join(missing)}', file=sys.stderr)
        for video in videos:
            failures[video.name].append(find_failure(model, video, name, args.frames, args.step))
    worst = sorted(failures.values(), key=lambda some: min(map(mean_score, some)))
    return [failure for some in worst[: args.videos] for failure in some]


def find_failure(model, video, memory: str, number: int, step: int) -> Failure:
    """The worst stretch of a video.

    Raises:
        ValueError: Nothing of the video can be scored.
    """
    masks = [decode_palette_png(png) for png in predicted(model, video).pred_masks]
    scores = frame_scores(video, masks)
    if np.isnan(scores).all():
        raise ValueError(f"video '{video.name}': expected true masks between its first and its last frame")
    frames = worst_stretch(scores.mean(1), number, step)
    return Failure(video, memory, frames, [masks[frame] for frame in frames], scores[frames])


def mean_score(failure: Failure) -> float:
    """J&F of a stretch."""
    return float(np.nanmean(failure.scores)) if not np.isnan(failure.scores).all() else np.inf


if __name__ == '__main__':
    sys.exit(main())
