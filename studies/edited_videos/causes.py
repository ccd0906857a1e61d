"""Why is foresight worth so little on edited videos: the oracle, the masks fed back, or the videos?::

    python studies/edited_videos/causes.py CONFIG CHECKPOINT --settings draft many_objects --out FILE.json

In the same episodes: rules, the best plan that a search with foresight finds, and a memory that keeps all
frames; each with what it read stored, and with the true masks stored instead.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from mmengine.registry import DefaultScope

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.setup import load_base
from mmstremn.engine.recorded.episodes import Episode, Run, iterate_episodes, run_episode
from mmstremn.engine.recorded.oracle import search_plan
from mmstremn.memory import EmptyFirst, FIFOSelector, SlotMemory
from mmstremn.models import VOSegmentor
from mmstremn.registry import DATASETS
from mmstremn.utils.timing import command_line, describe
from studies.edited_videos.run import MEASURES, RULES_FILE, build_memories
from studies.shared import model_with_memory

OPTIONS = ('command', 'config', 'checkpoint', 'split', 'slots', 'videos', 'masks', 'tries', 'seed')
SETTINGS: dict[str, dict] = dict(
    draft=dict(),
    few_objects=dict(objects=(3, 3), foreign=0.1),
    many_objects=dict(objects=(8, 8), foreign=0.1),
    many_looks=dict(
        objects=(4, 4),
        foreign=0.1,
        favourites=0.0,
        looks=dict(plain=0.2, mirrored=0.2, close=0.2, dark=0.2, bright=0.2),
    ),
    long_shots=dict(shot_steps=(5, 10)),
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Why foresight is worth so little on edited videos')
    parser.add_argument('config', help='config of the model, with `edited`')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--split', default='dev', help='of `edited` (default: %(default)s)')
    parser.add_argument('--settings', nargs='+', default=[*SETTINGS], choices=SETTINGS, metavar='NAME')
    parser.add_argument('--slots', type=int, default=5)
    parser.add_argument('--memories', nargs='+', default=['readmem_prompted_present'], metavar='NAME')
    parser.add_argument('--videos', type=int, default=4, metavar='N', help='default: %(default)s')
    parser.add_argument('--masks', nargs='+', default=['own', 'true'], choices=('own', 'true'))
    parser.add_argument('--all-frames', action='store_true', help='a memory that keeps all, too')
    parser.add_argument('--tries', type=int, default=30, help='of the search (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the search (default: %(default)s)')
    parser.add_argument('--recordings', type=Path, default=Path('work_dirs/recorded'), metavar='DIR')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    args = parser.parse_args(argv)
    args.command = command_line('studies/edited_videos/causes.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save after each video; the exit code."""
    args = parse_args(argv)
    try:
        cfg = load_base(args.config, {})
        chosen = choose_memories(load_memories(str(RULES_FILE)), args.memories)
        memories = build_memories(chosen, args.slots, oracle=False)
        model, _ = model_with_memory(cfg, dict(type='SlotMemory'), args.checkpoint, allow_missing=True)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            datasets = {
                name: DATASETS.build(dict(cfg.edited[args.split], style=SETTINGS[name]))
                for name in args.settings
            }
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError) as error:
        print(f'edited_videos: {error}', file=sys.stderr)
        return 1
    about = describe(args, 'cpu', OPTIONS)
    about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), styles={})
    results: dict[str, list[dict]] = {}
    for name, dataset in datasets.items():
        results[name] = []
        about['styles'][name] = SETTINGS[name]
        for episode in iterate_episodes(model, dataset, args.recordings / args.split, args.videos):
            results[name].append(row_of(episode, model, memories, args))
            print(name, json.dumps(results[name][-1]), flush=True)
            if args.out is not None:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps(about | dict(results=results)) + '\n')
    return 0


def row_of(
    episode: Episode, model: VOSegmentor, memories: dict[str, SlotMemory], args: argparse.Namespace
) -> dict:
    """The measures of an episode by memory, and whether the true masks are stored."""
    row: dict = dict(video=episode.name, steps=len(episode), objects=len(episode.births))
    if args.all_frames:
        every = SlotMemory(len(episode), FIFOSelector(), gates=[EmptyFirst()]).eval()
        memories = memories | dict(all_frames=every)
    for masks in args.masks:
        true = masks == 'true'
        runs = {
            name: run_episode(memory, episode, model.presence, true_masks=true)
            for name, memory in memories.items()
        }
        runs['plan'] = search_plan(args.slots, episode, model.presence, args.tries, args.seed, true)
        row[masks] = {name: measures_of(run) for name, run in runs.items()}
    return row


def measures_of(run: Run) -> dict[str, float]:
    """By name."""
    return {measure: round(getattr(run, measure), 5) for measure in MEASURES}


if __name__ == '__main__':
    torch.set_num_threads(1)
    sys.exit(main())
