"""Which memory is best on edited videos with the model's own masks?::

    python studies/edited_videos/decoded.py CONFIG CHECKPOINT --split dev --slots 5 --out FILE.json

The whole model segments every frame; no features are recorded. Memories are the rules of ``rules.py`` and
``as_trained``, that of CONFIG. What FILE has already is not computed again.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.setup import load_base
from mmstremn.datasets import EditedVideoDataset
from mmstremn.evaluation import boundary_f_measure, region_similarity
from mmstremn.models import VOSegmentor
from mmstremn.registry import DATASETS
from mmstremn.structures.video import VOID, Video
from mmstremn.utils.atomic import write_json
from mmstremn.utils.timing import command_line, describe
from studies.edited_videos.run import RULES_FILE, interval
from studies.shared import model_with_memory

OPTIONS = ('command', 'config', 'checkpoint', 'split', 'slots', 'every', 'precision')
AS_TRAINED = 'as_trained'
MEASURES = ('balanced', 'shown', 'false_alarms', 'all_frames')
STORE = dict(type='EveryN', n=5)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memories on edited videos with the model's own masks")
    parser.add_argument('config', help='config of the model, with `edited`')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--split', default='dev', help='of `edited` (default: %(default)s)')
    parser.add_argument('--slots', type=int, default=5)
    parser.add_argument('--memories', nargs='+', default=[AS_TRAINED], metavar='NAME')
    parser.add_argument('--videos', type=int, metavar='N', help='the first N (default: all)')
    parser.add_argument('--every', type=int, default=5, help='n-th frame is scored (default: %(default)s)')
    parser.add_argument('--precision', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='JSON')
    args = parser.parse_args(argv)
    args.command = command_line('studies/edited_videos/decoded.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Segment, score and save after each video; the exit code."""
    args = parse_args(argv)
    try:
        cfg = load_base(args.config, {})
        models = build_models(cfg, args)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset: EditedVideoDataset = DATASETS.build(cfg.edited[args.split])
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError) as error:
        print(f'edited_videos: {error}', file=sys.stderr)
        return 1
    about = describe(args, 'cpu', OPTIONS)
    about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), edited=cfg.edited[args.split].to_dict())
    results: dict = json.loads(args.out.read_text('utf-8'))['results'] if args.out.exists() else {}
    for index in range(len(dataset))[: args.videos]:
        video = dataset[index]['inputs']
        for name, model in models.items():
            rows = results.setdefault(name, [])
            if video.name not in [row['video'] for row in rows]:
                rows.append(dict(video=video.name) | scores_of(model, video, args.every))
                print(name, json.dumps(rows[-1]), flush=True)
                write_json(args.out, about | dict(results=results))
    tell(results)
    return 0


def build_models(cfg: Config, args: argparse.Namespace) -> dict[str, VOSegmentor]:
    """The model with each memory, by name."""
    rules = choose_memories(load_memories(str(RULES_FILE)), [n for n in args.memories if n != AS_TRAINED])
    entries = {name: dict(entry, gates=[*entry['gates'], STORE]) for name, entry in rules.items()}
    if AS_TRAINED in args.memories:
        entries[AS_TRAINED] = cfg.model.memory.to_dict()
    models = {}
    for name, entry in entries.items():
        models[name], _ = model_with_memory(cfg, dict(entry, num_slots=args.slots), args.checkpoint)
        models[name].precision = args.precision
    return models


def scores_of(model: VOSegmentor, video: Video, every: int) -> dict[str, float]:
    """Means over the objects, of the frames behind their prompts.

    Returns:
        ``balanced``: J&F, half by the frames that show the object and half by those that do not;
        ``shown``: J&F of the former; ``false_alarms``: share of the latter in which more than .1 % is
        painted; ``all_frames``: J&F of all alike, as DAVIS averages.
    """
    stream, prompts = model.new_stream(0), video.prompts
    begun: dict[int, int] = {}
    found: dict[int, list[tuple[bool, float, bool]]] = {}
    for index in range(video.num_frames):
        ids = stream.step(video.frame(index), prompts.get(index)).cpu().numpy()
        if index % every == 0:
            truth = video.mask(index)
            for k in begun:
                found.setdefault(k, []).append(score_of(ids == k, truth == k, truth == VOID))
        for k in set(np.unique(prompts.get(index, 0))) - {0, VOID} - set(begun):
            begun[k] = index
    return means_of(found)


def means_of(found: dict[int, list[tuple[bool, float, bool]]]) -> dict[str, float]:
    """What :func:`scores_of` returns, of the scores of each object."""
    tables = [np.array(rows, float) for rows in found.values()]
    shown = [_mean(table[table[:, 0] == 1, 1]) for table in tables]
    away = [_mean(table[table[:, 0] == 0, 1]) for table in tables]
    alarms = [_mean(table[table[:, 0] == 0, 2]) for table in tables]
    return dict(
        balanced=_mean([_mean(pair) for pair in zip(shown, away, strict=True)]),
        shown=_mean(shown),
        false_alarms=_mean(alarms),
        all_frames=_mean([_mean(table[:, 1]) for table in tables]),
    )


def score_of(mask: np.ndarray, truth: np.ndarray, void: np.ndarray) -> tuple[bool, float, bool]:
    """Whether an object is shown, its J&F, and whether more than .1 % is painted."""
    one = (truth[None], mask[None])
    measures = [
        float(measure(*one, void=void[None])[0]) for measure in (region_similarity, boundary_f_measure)
    ]
    return bool(truth.any()), float(np.mean(measures)), bool((mask & ~void).mean() > 1e-3)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Of the numbers among them; NaN of none."""
    values = np.asarray(values, float)
    kept = values[~np.isnan(values)]
    return round(float(kept.mean()), 5) if len(kept) else float('nan')


def tell(results: dict[str, list[dict]]) -> None:
    """A line for each memory, the best first, with its distance to the best one."""
    number = min(map(len, results.values()))
    values = {name: [row['balanced'] for row in rows[:number]] for name, rows in results.items()}
    best = max(values, key=lambda name: np.mean(values[name]))
    for name in sorted(values, key=lambda name: -np.mean(values[name])):
        means = {
            key: np.mean([row[key] for row in results[name]]) for key in results[name][0] if key != 'video'
        }
        gain, low, high = interval(values[name], values[best])
        print(
            f'{name}: ' + ', '.join(f'{key} {value:.3f}' for key, value in means.items()),
            f'; less that of {best}: {gain:+.3f} ({low:+.3f} to {high:+.3f})',
        )


if __name__ == '__main__':
    torch.set_num_threads(1)
    sys.exit(main())
