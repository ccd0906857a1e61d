"""How much does the choice of the slot decide on edited videos, and which rule is best?::

    python studies/edited_videos/run.py CONFIG CHECKPOINT --split test --slots 2 3 5 8 --out FILE.json

Rules and an oracle that knows the future (``OracleSelector``) choose in the same episodes of recorded
features. CONFIG has ``edited``, a dict of data sets of edited videos by split.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.setup import load_base
from mmstremn.datasets import EditedVideoDataset
from mmstremn.engine.recorded.episodes import Episode, iterate_episodes, run_episode
from mmstremn.engine.recorded.oracle import OracleSelector
from mmstremn.memory import EmptyFirst, RandomSelector, ReservoirSelector, SlotMemory
from mmstremn.models import VOSegmentor
from mmstremn.registry import DATASETS, build
from mmstremn.utils.timing import command_line, describe
from studies.shared import model_with_memory

OPTIONS = ('command', 'config', 'checkpoint', 'split', 'slots', 'seeds')
RULES_FILE = Path(__file__).with_name('rules.py')
MEASURES = ('balanced', 'j_shown', 'false_alarms', 'all_steps')
DRAWING = (RandomSelector, ReservoirSelector)
ORACLE = 'oracle'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='How much the choice of the slot decides on edited videos')
    parser.add_argument('config', help='config of the model, with `edited`')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--split', default='dev', help='of `edited` (default: %(default)s)')
    parser.add_argument('--slots', nargs='+', type=int, default=[5], metavar='S')
    parser.add_argument('--memories', nargs='+', default=['all'], metavar='NAME', help="or 'all'")
    parser.add_argument('--memory-file', default=str(RULES_FILE), help='default: %(default)s')
    parser.add_argument('--no-oracle', action='store_true')
    parser.add_argument('--videos', type=int, metavar='N', help='the first N (default: all)')
    parser.add_argument('--seeds', type=int, default=3, help='of rules that draw (default: %(default)s)')
    parser.add_argument('--recordings', type=Path, default=Path('work_dirs/recorded'), metavar='DIR')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    args = parser.parse_args(argv)
    args.command = command_line('studies/edited_videos/run.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    try:
        cfg = load_base(args.config, {})
        chosen = choose_memories(load_memories(args.memory_file), args.memories)
        model, _ = model_with_memory(cfg, dict(type='SlotMemory'), args.checkpoint, allow_missing=True)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset: EditedVideoDataset = DATASETS.build(cfg.edited[args.split])
            memories = {s: build_memories(chosen, s, not args.no_oracle) for s in args.slots}
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError) as error:
        print(f'edited_videos: {error}', file=sys.stderr)
        return 1
    results: dict = {str(s): {name: [] for name in memories[s]} for s in args.slots}
    folder = args.recordings / args.split
    for episode in iterate_episodes(model, dataset, folder, args.videos):
        for slots in args.slots:
            for name, memory in memories[slots].items():
                results[str(slots)][name].append(row_of(memory, episode, model, args.seeds))
        print(episode.name, flush=True)
    console = Console(file=sys.stdout)
    for slots, rows in results.items():
        console.print(table_of(slots, rows))
    if args.out is not None:
        about = describe(args, 'cpu', OPTIONS)
        about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), edited=cfg.edited[args.split].to_dict())
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(about | dict(results=results)) + '\n')
    return 0


def build_memories(entries: dict[str, dict], slots: int, oracle: bool) -> dict[str, SlotMemory]:
    """Memories of so many slots by name, in evaluation mode."""
    memories = {name: build(dict(entry, num_slots=slots)) for name, entry in entries.items()}
    if oracle:
        memories[ORACLE] = SlotMemory(slots, OracleSelector(), gates=[EmptyFirst()])
    return {name: memory.eval() for name, memory in memories.items()}


def row_of(memory: SlotMemory, episode: Episode, model: VOSegmentor, seeds: int) -> dict:
    """The measures of an episode, means over the seeds where the rule draws."""
    number = seeds if isinstance(memory.selector, DRAWING) else 1
    runs = [run_episode(memory, episode, model.presence, seed) for seed in range(number)]
    values = np.array([[getattr(run, measure) for measure in MEASURES] for run in runs])
    return dict(video=episode.name) | dict(zip(MEASURES, values.mean(0).round(5).tolist(), strict=True))


def interval(first: Sequence[float], second: Sequence[float], draws: int = 10_000) -> tuple[float, ...]:
    """The mean difference of paired values, and the 95 % interval of a bootstrap over the pairs."""
    difference = np.subtract(first, second)
    rng = np.random.default_rng(0)
    means = difference[rng.integers(len(difference), size=(draws, len(difference)))].mean(1)
    return float(difference.mean()), *map(float, np.quantile(means, (0.025, 0.975)))


def table_of(slots: str, results: dict[str, list[dict]]) -> Table:
    """For the terminal, the best first."""
    means = {name: [np.mean([row[m] for row in rows]) for m in MEASURES] for name, rows in results.items()}
    best = max((name for name in means if name != ORACLE), key=lambda name: means[name][0])
    table = Table(title=f'{slots} slots, {len(results[best])} videos')
    for column in ('memory', *MEASURES, f'{MEASURES[0]} less that of {best}'):
        table.add_column(column, justify='left' if column == 'memory' else 'right')
    for name in sorted(means, key=lambda name: -means[name][0]):
        of = [[row[MEASURES[0]] for row in results[key]] for key in (name, best)]
        gain, low, high = interval(*of)
        numbers = [f'{value:.3f}' for value in means[name]]
        table.add_row(name, *numbers, f'{gain:+.3f} ({low:+.3f} to {high:+.3f})')
    return table


if __name__ == '__main__':
    torch.set_num_threads(1)
    sys.exit(main())
