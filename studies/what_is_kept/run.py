"""Measure what memories of slots keep, with the truth about long synthetic videos::

    python studies/what_is_kept/run.py CONFIG CHECKPOINT --memories learned_4 --memory-file FILE
    --out DIR

For every frame that a memory was offered: how long it was held, against what the frame shows beside what was
held when it came. ``DIR/result.json`` and ``figure.png`` hold Spearman's correlations, ``slots_NAME.png``
the slots in one video. Ranks are taken within each video. An offer counts if half of the video is still to
come, and so long it is followed: nothing is censored by the end of the video. Rules that hold every frame for
as long, such as FIFO, have no correlation.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

try:
    import numpy as np
    from PIL import Image
    from rich.console import Console

    from mmstremn.comparison.leaderboard import Column, rich_table
    from mmstremn.comparison.row_files import file_sha256
    from mmstremn.memory.slots.gates import EveryN
    from mmstremn.utils.atomic import write_json
    from mmstremn.visualization import draw_slot_timeline
    from studies.shared import add_study_arguments, model_with_memory, predicted, read_arguments
    from studies.what_is_kept.retention import (
        TRAITS,
        draw_correlations,
        kept_frames,
        observed,
        offered_frames,
        rank_correlation,
        trait_values,
    )
except ImportError as error:
    sys.exit(f'The study misses a package: {error}. Install it with: pip install -e ".[mm,analysis]"')

TITLE = "Spearman's correlation of how long a frame is kept with what it shows"
COLUMNS = {
    'memory': Column('memory'),
    'offers': Column('offers', 1),
    'stored': Column('stored', 1),
    'kept': Column('median frames kept', 1),
    **{trait: Column(title, 1, 2) for trait, title in TRAITS.items()},
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Measure what memories of slots keep in long synthetic videos'
    )
    add_study_arguments(parser, split='dev')
    parser.add_argument('--video', metavar='NAME', help='whose slots are drawn (default: the first)')
    parser.add_argument(
        '--out', type=Path, required=True, metavar='DIR', help='folder of tables and pictures'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure and write; the exit code."""
    args = parse_args(argv)
    try:
        study(args)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f'what_is_kept: {message}', file=sys.stderr)
        return 1
    return 0


def study(args: argparse.Namespace) -> None:
    """All memories on all videos.

    Raises:
        ValueError: The videos have no truth, the chosen one is unknown, or a memory has no slots.
    """
    cfg, memories, videos = read_arguments(args)
    drawn = args.video or videos[0].name
    if not all(hasattr(video, 'truth') for video in videos):
        raise ValueError(
            f'{args.config}: expected LongSyntheticVOSDataset as test data, whose truth is known'
        )
    if drawn not in {video.name for video in videos}:
        raise ValueError(
            f"--video: '{drawn}' is unknown; there are: {', '.join(video.name for video in videos)}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, entry in memories.items():
        model, missing = model_with_memory(cfg, entry, args.checkpoint, args.allow_missing)
        measured = []
        for video in videos:
            timeline = slot_timeline(model, video, name)
            measured.append(measure(video, timeline, cadence(model.memory)))
            if video.name == drawn:
                Image.fromarray(draw_slot_timeline(timeline, f'{name}, {drawn}')).save(
                    args.out / f'slots_{name}.png'
                )
        results[name] = summarise(measured) | dict(missing_keys=missing, memory_config=entry)
    write_results(args, results)


def cadence(memory) -> int:
    """Every how many frames a memory is offered one."""
    return next((gate.n for gate in getattr(memory, 'gates', ()) if isinstance(gate, EveryN)), 1)


def slot_timeline(model, video, name: str) -> np.ndarray:
    """(T, S), see ``predict_video``.

    Raises:
        ValueError: The memory has none.
    """
    timeline = predicted(model, video).get('slot_timeline')
    if timeline is None:
        raise ValueError(
            f"'{name}': expected a memory of slots that hold a frame each, got {type(model.memory).__name__}"
        )
    return timeline


def measure(video, timeline: np.ndarray, every: int) -> dict[str, np.ndarray]:
    """Of the offers of one video: ``kept`` (N,) frames and each of ``TRAITS`` (N,)."""
    first = min(video.prompts)
    offers = offered_frames(video.num_frames, every, first)
    counted, kept = observed(kept_frames(timeline, offers), offers, video.num_frames)
    truths = {frame: video.truth(frame) for frame in [first, *offers.tolist()]}
    values = trait_values(truths, timeline, offers[counted])
    return dict(kept=kept[counted].astype(float)) | values


def summarise(measured: list[dict]) -> dict:
    """Of one memory: how much it kept, and for each trait ``spearman`` and the ``offers`` that have it."""
    kept = np.concatenate([video['kept'] for video in measured])
    stored = kept[kept > 0]
    result = dict(
        offers=len(kept),
        stored=len(stored),
        kept=float(np.median(stored)) if len(stored) else None,
        traits={},
    )
    for trait in TRAITS:
        spearman, offers = rank_correlation([(video[trait], video['kept']) for video in measured])
        result['traits'][trait] = dict(spearman=spearman, offers=offers)
    return result


def write_results(args: argparse.Namespace, results: dict[str, dict]) -> None:
    """``result.json``, ``figure.png``, and the table on the terminal."""
    about = dict(config=args.config, cfg_options=args.cfg_options, split=args.split)
    about |= dict(checkpoint=args.checkpoint, checkpoint_sha256=file_sha256(args.checkpoint))
    write_json(args.out / 'result.json', about | dict(memories=results))
    lines = []
    for name, result in results.items():
        spearman = {trait: values['spearman'] for trait, values in result['traits'].items()}
        lines.append(result | dict(memory=name) | spearman)
    draw_correlations({line['memory']: {TRAITS[key]: line[key] for key in TRAITS} for line in lines}).savefig(
        args.out / 'figure.png'
    )
    Console(file=sys.stdout).print(rich_table(lines, COLUMNS, TITLE))


if __name__ == '__main__':
    sys.exit(main())
