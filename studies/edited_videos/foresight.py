"""How much better could a choice be, with the masks that the model decodes?::

    python studies/edited_videos/foresight.py CONFIG CHECKPOINT --slots 5 --tries 20 --out FILE.json

As ``decoded.py``, but the whole model segments every ``stride``-th frame alone (and those with prompts), each
of which is offered to the memory, so an episode takes a fifth of the time. Beside rules: the best plan that a
search with foresight finds, and every memory once more with the true masks stored. What FILE has already is
not computed again.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.setup import load_base
from mmstremn.datasets.vos.edited_videos import EditedVideo
from mmstremn.engine.recorded.oracle import PlannedSelector, random_search
from mmstremn.memory import EmptyFirst, EveryN, Memory, SlotMemory
from mmstremn.models import VOSegmentor
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.registry import DATASETS, build
from mmstremn.structures.video import VOID
from mmstremn.utils.atomic import write_json
from mmstremn.utils.timing import command_line, describe
from studies.edited_videos.causes import SETTINGS
from studies.edited_videos.decoded import AS_TRAINED, means_of, score_of, tell
from studies.edited_videos.run import RULES_FILE
from studies.shared import model_with_memory

OPTIONS = ('command', 'config', 'checkpoint', 'split', 'setting', 'slots', 'tries', 'seed', 'precision')
PLAN = 'plan'
TRUE = 'true_masks'
Scores = dict[str, float]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='How much better a choice could be on edited videos')
    parser.add_argument('config', help='config of the model, with `edited`')
    parser.add_argument('checkpoint', help='weights of the model')
    parser.add_argument('--split', default='dev', help='of `edited` (default: %(default)s)')
    parser.add_argument('--setting', default='draft', choices=SETTINGS, help='default: %(default)s')
    parser.add_argument('--slots', type=int, default=5)
    parser.add_argument('--memories', nargs='+', default=[AS_TRAINED], metavar='NAME')
    parser.add_argument('--memory-file', default=str(RULES_FILE), help='default: %(default)s')
    parser.add_argument(
        '--true-masks', action='store_true', help='each once more, with the true masks stored'
    )
    parser.add_argument('--videos', type=int, metavar='N', help='the first N (default: all)')
    parser.add_argument('--tries', type=int, default=0, help='of the search; 0: no plan (default)')
    parser.add_argument('--seed', type=int, default=0, help='of the search (default: %(default)s)')
    parser.add_argument('--precision', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='JSON')
    args = parser.parse_args(argv)
    args.command = command_line('studies/edited_videos/foresight.py', argv)
    return args


class DecodedEpisode:
    """A video of which every ``stride``-th frame and those with prompts are segmented, again and again.

    Args:
        model: Its memory is exchanged by :meth:`run`.
        video: With a mask for every frame.
    """

    def __init__(self, model: VOSegmentor, video: EditedVideo):
        self.model, self.video = model, video
        found = {index: sorted(set(np.unique(mask)) - {0, VOID}) for index, mask in video.prompts.items()}
        self.prompts = {index: video.prompts[index] for index, ids in found.items() if ids}
        self.ids = [int(k) for index in sorted(self.prompts) for k in found[index]]  # as in the stream
        whole = range(0, video.num_frames, video.stride)
        self.indices = [i for i in sorted({*whole, *self.prompts}) if i >= min(self.prompts)]
        self.truth = [video.mask(index) for index in self.indices]

    def run(self, memory: Memory, true_masks: bool = False) -> Scores:
        """As ``decoded.scores_of``, of the frames that are segmented."""
        self.model.memory = memory.eval()
        stream = self.model.new_stream(0)
        known: list[int] = []
        found: dict[int, list[tuple[bool, float, bool]]] = {k: [] for k in self.ids}
        with self._storing(true_masks, stream):
            for index, truth in zip(self.indices, self.truth, strict=True):
                ids = stream.step(self.video.frame(index), self.prompts.get(index)).numpy()
                for k in known:
                    found[k].append(score_of(ids == k, truth == k, truth == VOID))
                known = list(stream.object_ids)
        return means_of({k: rows for k, rows in found.items() if rows})

    @contextmanager
    def _storing(self, true_masks: bool, stream) -> Iterator[None]:
        """While it lasts values are made of the true masks, if these are asked for."""
        encode = self.model.encode_value

        def of_truth(features, output, prompted):
            truth, number = self.truth[stream.index], output.logits.shape[1] - 1
            planes = torch.from_numpy(np.stack([truth == k for k in self.ids[:number]]))
            logits = GivenMasks(planes[None]).replace(None)
            return encode(features, dataclasses.replace(output, logits=logits), prompted)

        if true_masks:
            self.model.encode_value = of_truth
        try:
            yield
        finally:
            self.model.encode_value = encode

    def shown(self) -> Tensor:
        """(T, O): the step shows the object."""
        return torch.tensor([[bool((mask == k).any()) for k in self.ids] for mask in self.truth])


def best_plan(episode: DecodedEpisode, slots: int, tries: int, seed: int, true_masks: bool) -> Scores:
    """The best run that a random search over plans finds, as ``mmstremn.engine.recorded.oracle.search_plan``:
    attained with all that is fed back, and no upper bound."""
    prompts = [episode.indices.index(index) for index in episode.prompts]

    def run(selector: PlannedSelector) -> Scores:
        return episode.run(SlotMemory(slots, selector, gates=[EmptyFirst()]), true_masks)

    return random_search(run, lambda made: made['balanced'], episode.shown(), prompts, tries, seed)


def main(argv: list[str] | None = None) -> int:
    """Segment, score and save after each video; the exit code."""
    args = parse_args(argv)
    try:
        cfg = load_base(args.config, {})
        model, memories = build_memories(cfg, args)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = DATASETS.build(dict(cfg.edited[args.split], style=SETTINGS[args.setting]))
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError) as error:
        print(f'edited_videos: {error}', file=sys.stderr)
        return 1
    about = describe(args, 'cpu', OPTIONS)
    about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), style=SETTINGS[args.setting])
    about |= dict(presence=cfg.model.get('presence'))
    results: dict = json.loads(args.out.read_text('utf-8'))['results'] if args.out.exists() else {}
    for index in range(len(dataset))[: args.videos]:
        episode = DecodedEpisode(model, dataset[index]['inputs'])
        for name, run in runs_of(episode, memories, args).items():
            rows = results.setdefault(name, [])
            if episode.video.name not in [row['video'] for row in rows]:
                rows.append(dict(video=episode.video.name) | run())
                print(name, json.dumps(rows[-1]), flush=True)
                write_json(args.out, about | dict(results=results))
    tell(results)
    return 0


def build_memories(
    cfg: Config, args: argparse.Namespace
) -> tuple[VOSegmentor, dict[str, Callable[[], Memory]]]:
    """The model, and what makes each memory anew, by name; all frames are offered to all of them."""
    trained = dict(cfg.model.memory.to_dict(), num_slots=args.slots)
    model, _ = model_with_memory(cfg, trained, args.checkpoint)
    model.precision, own = args.precision, model.memory
    own.gates = torch.nn.ModuleList(gate for gate in own.gates if not isinstance(gate, EveryN))
    names = [name for name in args.memories if name != AS_TRAINED]
    rules = choose_memories(load_memories(args.memory_file), names)
    makers: dict[str, Callable[[], Memory]] = {
        name: partial(build, dict(num_slots=args.slots) | rule) for name, rule in rules.items()
    }
    return model, makers | ({AS_TRAINED: lambda: own} if AS_TRAINED in args.memories else {})


def runs_of(
    episode: DecodedEpisode, memories: dict[str, Callable[[], Memory]], args: argparse.Namespace
) -> dict[str, Callable[[], Scores]]:
    """What is to be computed of an episode, by name."""
    runs: dict[str, Callable[[], Scores]] = {}
    for true_masks in (False, True)[: 1 + args.true_masks]:
        suffix = f'_{TRUE}' if true_masks else ''
        for name, make in memories.items():
            runs[name + suffix] = lambda make=make, true=true_masks: episode.run(make(), true)
        if args.tries:
            plan = partial(best_plan, episode, args.slots, args.tries, args.seed, true_masks)
            runs[PLAN + suffix] = plan
    return runs


if __name__ == '__main__':
    torch.set_num_threads(1)
    sys.exit(main())
