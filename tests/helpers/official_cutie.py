"""Compare Cutie with its public code: ``python tests/helpers/official_cutie.py FOLDER``.

FOLDER is a clone of hkchengrex/Cutie. The same random weights are loaded into the public code and, converted,
into ours; both segment the same synthetic video in float32. *Free*: each runs on its own. *Fed*: each of our
steps reads what the official memories hold. *Tied*: free, but with the official similarities, which depend on
the frames alone, so that ties are broken as there. *Settled*: tied, and where two scores of a mask of the
object transformer are equal up to rounding it takes the official ones: at these positions alone.

Of each frame are printed, and written to ``--out``, the largest difference of any pixel's probability, the
numbers of frames and prototypes that are held, and where rounding decides: the positions with a tie, whose
similarities at ranks k and k + 1 differ by less than 1e-5, and the positions of the masks with a mask tie, at
which the two largest of the scores of background and objects are that close. Of a settled frame also at how
many of these the official mask is another (flips), and at how many others (surprises; 0 is expected). Where a
fed frame differs by more than 1e-4 it is computed again, tied and then settled.

The reference numbers of ``tests/checkpoints`` are those of ``--model cutie_small --frames 14`` and ``--model
cutie_base --frames 4``, both with ``--size 75 101 --small-memory --reference``.
"""

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / 'tools/analysis_tools'))
from benchmarks.public_cutie import public_cutie

from helpers.official_cases import POINTS, SMALL_MEMORY, make_video, random_weights
from mmstremn.checkpoints.convert import convert
from mmstremn.checkpoints.public_models import PUBLIC
from mmstremn.memory.published import xmem
from mmstremn.memory.published.xmem_consolidation import position_similarity
from mmstremn.models import VOSStream, aggregate
from mmstremn.models.segmentation import object_transformer
from mmstremn.registry import MODELS
from mmstremn.utils import find_config

# Ours, and the names of the public code.
OPTION_NAMES = dict(
    min_frames='min_mem_frames',
    max_frames='max_mem_frames',
    num_prototypes='num_prototypes',
    capacity='max_num_tokens',
    buffer='buffer_tokens',
)
CLOSE, ENOUGH = 1e-5, 1e-4
MODES = ('free', 'tied', 'settled', 'fed')


class OfficialVideo:
    """The public code on a video, frame by frame.

    Args:
        network: With weights.
        options: Of its evaluation.

    Attributes:
        ties: Positions of the latest read at which a tie was.
        similarity: (B, P, N) of the latest read.
        long_key: (B, Ck, L) of the prototypes in the latest read.
        scores: (B, 1 + O, P) of each mask in the object transformer, of the latest step.
    """

    def __init__(self, network, options):
        self.core = importlib.import_module('cutie.inference.inference_core').InferenceCore(network, options)
        self.ties, self.similarity, self.long_key, self.scores = 0, None, None, []
        manager = importlib.import_module('cutie.inference.memory_manager')
        self._softmax = importlib.import_module('cutie.model.utils.memory_utils').do_softmax
        manager.do_softmax = self._count_ties
        transformer = importlib.import_module('cutie.model.transformer.object_transformer')
        self._aggregate, transformer.aggregate = transformer.aggregate, self._note_scores

    def _count_ties(self, similarity: Tensor, top_k: int | None = None, **options):
        """The public code's softmax; of reads, which alone have a k, the ties are counted."""
        if top_k is not None:
            self.similarity = similarity.transpose(1, 2).clone()
            self.long_key = self.core.memory.long_mem.k.get(0, similarity[:, :0])
            top = similarity.topk(min(top_k + 1, similarity.shape[1]), 1).values
            self.ties = int((top[:, top_k - 1] - top[:, -1] < CLOSE).sum()) if top.shape[1] > top_k else 0
        return self._softmax(similarity, top_k, **options)

    def _note_scores(self, probability: Tensor, dim: int) -> Tensor:
        """The public code's scores of background and objects, of which its object transformer makes masks."""
        scores = self._aggregate(probability, dim)
        self.scores.append(scores.flatten(2))
        return scores

    @torch.no_grad()
    def step(self, frame: np.ndarray, ids: np.ndarray | None) -> Tensor:
        """Probabilities (1 + O, H, W) of a frame (H, W, 3) uint8."""
        image = torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        self.scores = []
        if ids is None:
            return self.core.step(image)
        known = [int(i) for i in np.unique(ids) if i]
        return self.core.step(image, torch.from_numpy(ids.astype(np.int64)), known)

    @property
    def sizes(self) -> tuple[int, int]:
        """Frames of working memory and prototypes that are held."""
        memory = self.core.memory
        return memory.work_mem.size(0) // memory.HW, memory.long_mem.size(0)

    def pack(self, state):
        """Our ``state`` with the contents of the official memories."""
        memory, step = self.core.memory, state.step
        work, long, known = memory.work_mem, memory.long_mem, sorted(memory.sensory)
        (frames, prototypes), positions = self.sizes, memory.HW
        state = state.clone()

        def put(name, numbers, start=0):
            """(B, M, N, ...) at a buffer's slots from ``start`` on, or at its first positions."""
            buffer = getattr(state, name)
            if not name.startswith('long_'):
                buffer = buffer[:, :, start:].flatten(2, 3)
            buffer[:, :, : numbers.shape[2]] = numbers

        put('key', work.k[0].transpose(1, 2)[:, None])
        put('value', torch.stack([work.v[i].transpose(1, 2) for i in known], 1))
        put('shrinkage', work.s[0])
        put('selection', work.e[0].transpose(1, 2)[:, None], 1) if frames > 1 else None
        if frames > 1:
            put('usage', work.use_cnt[0][:, None], 1)
            life = work.life_cnt[0].unflatten(1, (-1, positions))[:, None, :, 0].round().long()
            state.written_at[:, :, 1:frames] = step - 1 - life
        if prototypes:
            put('long_key', long.k[0].transpose(1, 2)[:, None])
            put('long_value', torch.stack([long.v[i].transpose(1, 2) for i in known], 1))
            put('long_shrinkage', long.s[0])
            put('long_usage', long.use_cnt[0][:, None])
            state.long_since[:, :, :prototypes] = step - 1 - long.life_cnt[0].round().long()[:, None]
        state.sensory_map = torch.stack([memory.sensory[i] for i in known], 1).flatten(3).transpose(2, 3)
        state.summary_sums = torch.stack([memory.obj_v[i] for i in known], 1)
        grid = tuple(n // 16 for n in self.core.last_mask.shape[-2:])
        mask = F.adaptive_avg_pool2d(self.core.last_mask, grid)
        state.last_mask = mask.flatten(2)
        state.frames, state.prototypes, state.stored = frames, prototypes, self.core.last_mem_ti
        return state


def our_model(name: str, **memory):
    """Our model with the converted weights; ``memory`` are options of its pixel memory."""
    cfg = Config.fromfile(find_config(f'vos/{name}_official.py')).model
    cfg.memory.pixel_memory.update(memory)
    model = MODELS.build(cfg)
    model.load_state_dict(convert(random_weights(name), PUBLIC['cutie'], model))
    return model.eval()


def build_pair(folder: Path, name: str, memory: dict):
    """The public code on a video, and a stream of our model; ``memory`` are options of both memories."""
    network, options = public_cutie(folder, name)
    network.load_state_dict(random_weights(name))
    options.mem_every = memory.get('every', options.mem_every)
    options.long_term.update({OPTION_NAMES[key]: n for key, n in memory.items() if key in OPTION_NAMES})
    return OfficialVideo(network, options), VOSStream(our_model(name, **memory))


def are_tied(scores: Tensor) -> Tensor:
    """(B, P) bool: where the two largest of (B, 1 + O, P) are equal up to rounding."""
    first, second = scores.topk(2, 1).values.unbind(1)
    return first - second < CLOSE


class OfficialScores:
    """Our ``aggregate`` for the masks of one frame; where two scores tie it gives the official ones.

    Args:
        official: Has computed the frame.

    Attributes:
        flips: Positions with a tie at which the official mask is another than ours.
        surprises: Such positions without a tie.
    """

    def __init__(self, official: OfficialVideo):
        self.scores = iter(official.scores)
        self.flips = self.surprises = 0

    def __call__(self, probability: Tensor) -> Tensor:
        """(B, O, P) to (B, 1 + O, P)."""
        ours, official = aggregate(probability), next(self.scores)
        tied = are_tied(ours)
        differ = ((ours == ours.amax(1, keepdim=True)) != (official == official.amax(1, keepdim=True))).any(1)
        self.flips += int((differ & tied).sum())
        self.surprises += int((differ & ~tied).sum())
        return torch.where(tied[:, None], official, ours)


def step_from(stream: VOSStream, state, frame: np.ndarray, given: np.ndarray | None) -> Tensor:
    """The probabilities of a frame that is read with ``state``; None: the first frame."""
    if state is not None:
        stream.state = state.clone()
        stream.index = state.step
    return stream.probabilities(frame, given)


def reads_of(official: OfficialVideo, order: Tensor | None = None):
    """Our ``position_similarity``, whose first call gives what the official read had.

    Args:
        official: Has read.
        order: Where the official memory holds our prototypes; None: where we do.
    """
    similarity = official.similarity
    if order is not None and len(order):
        similarity = torch.cat([similarity[..., order], similarity[..., len(order) :]], -1)
    similarities = [similarity]
    return lambda *args: similarities.pop() if similarities else position_similarity(*args)


def order_of(official: OfficialVideo, state) -> Tensor | None:
    """Where the official memory holds our prototypes: those with the nearest keys."""
    if state is None or not state.prototypes:
        return None
    ours = state.long_key[0, 0, : state.prototypes]
    return torch.cdist(ours, official.long_key[0].T).argmin(1)


class Comparison:
    """Our model beside the official one on a video, frame by frame.

    Args:
        folder: Clone of the public code.
        name: ``cutie_base`` or ``cutie_small``.
        memory: Options of both memories.
        modes: How our model runs.
    """

    def __init__(self, folder: Path, name: str, memory: dict, modes: Sequence[str]):
        self.official, stream = build_pair(folder, name, memory)
        self.streams = {mode: VOSStream(stream.model) for mode in modes}

    def step(self, frame: np.ndarray, given: np.ndarray | None) -> tuple[Tensor, dict]:
        """The official probabilities (1 + O, H, W) of a frame, and what is printed of it."""
        fed = self.streams.get('fed')
        packed = self.official.pack(fed.state) if fed and fed.state is not None else None
        expected, row = self.official.step(frame, given), {}
        for mode, stream in self.streams.items():
            if mode == 'fed':
                continue
            order = order_of(self.official, stream.state) if mode != 'free' else None
            with self._settings(mode, order, row):
                row[mode] = largest(expected, stream.probabilities(frame, given))
        if fed:
            row['fed'] = largest(expected, step_from(fed, packed, frame, given))
            for mode, last in (('tied', 'fed'), ('settled', 'fed_tied')):
                if row.get(last, 0) > ENOUGH:
                    with self._settings(mode, None, row, 'fed_'):
                        row[f'fed_{mode}'] = largest(expected, step_from(fed, packed, frame, given))
        of_masks = self.official.scores[:-1]  # the last bars no query
        mask_ties = sum(int(are_tied(scores).sum()) for scores in of_masks)
        held = dict(zip(('frames', 'prototypes'), self.official.sizes, strict=True))
        for mode, stream in self.streams.items():
            ours = dict(frames=stream.state.frames, prototypes=stream.state.prototypes)
            assert ours == held, f'{mode}: {ours} are held, officially {held}'
        return expected, row | dict(ties=self.official.ties, mask_ties=mask_ties) | held

    @contextlib.contextmanager
    def _settings(self, mode: str, order: Tensor | None, row: dict, prefix: str = '') -> Iterator[None]:
        """What our model takes from the official one in ``mode``; ``row`` gets what a settled frame took."""
        with contextlib.ExitStack() as stack:
            if mode in ('tied', 'settled'):
                reads = reads_of(self.official, order)
                stack.enter_context(mock.patch.object(xmem, 'position_similarity', reads))
            if mode == 'settled':
                scores = OfficialScores(self.official)
                stack.enter_context(mock.patch.object(object_transformer, 'aggregate', scores))
            yield
        if mode == 'settled':
            row |= {f'{prefix}flips': scores.flips, f'{prefix}surprises': scores.surprises}


def largest(expected: Tensor, found: Tensor) -> float:
    """The largest difference, with two digits."""
    return float(f'{(expected - found).abs().max():.1e}')


def write(path: Path, args: argparse.Namespace, rows: list[dict]) -> None:
    """The record of a comparison."""
    commit = subprocess.run(
        ('git', '-C', args.folder, 'rev-parse', '--short', 'HEAD'), capture_output=True, text=True, check=True
    ).stdout.strip()
    words = [word for word in sys.argv[1:] if word not in ('--out', str(path), str(args.folder))]
    record = dict(
        command=f'python tests/helpers/official_cutie.py FOLDER {" ".join(words)}',
        public_code=f'hkchengrex/Cutie {commit}',
        threads=torch.get_num_threads(),
        seed=0,
    )
    lines = ',\n  '.join(json.dumps(row) for row in rows)
    head = json.dumps(record, indent=1).rstrip('\n}')
    path.write_text(f'{head},\n "rows": [\n  {lines}\n ]\n}}\n')


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description='Compare Cutie with its public code')
    parser.add_argument('folder', type=Path, help='clone of hkchengrex/Cutie')
    parser.add_argument('--model', default='cutie_base', choices=('cutie_base', 'cutie_small'))
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--size', type=int, nargs=2, default=(480, 854))
    parser.add_argument('--modes', nargs='+', default=('fed', 'free'), choices=MODES)
    parser.add_argument('--small-memory', action='store_true', help='one that consolidates and evicts soon')
    parser.add_argument('--capacity', type=int, help='prototypes held at most')
    parser.add_argument('--buffer', type=int, help='prototypes that go beyond those that must')
    parser.add_argument('--reference', action='store_true', help='print the numbers that the tests hold')
    parser.add_argument('--out', type=Path, help='file of the record')
    args = parser.parse_args()
    memory = SMALL_MEMORY | dict(buffer=10) if args.small_memory else {}
    memory |= {key: n for key in ('capacity', 'buffer') if (n := getattr(args, key)) is not None}
    comparison = Comparison(args.folder, args.model, memory, args.modes)
    frames, ids = make_video(args.frames, tuple(args.size))
    means, rows = [], []
    for index, frame in enumerate(frames):
        expected, row = comparison.step(frame, None if index else ids)
        means.append([round(x, 5) for x in expected.mean((1, 2)).tolist()])
        rows.append(row)
        print(f'frame {index}:', ', '.join(f'{name} {n}' for name, n in row.items()), flush=True)
    print('largest:', {mode: max(row[mode] for row in rows) for mode in args.modes})
    if args.out:
        write(args.out, args, rows)
    if args.reference:
        points = [[round(x, 5) for x in expected[:, y, x].tolist()] for y, x in POINTS]
        print(means[1:], points, sep='\n')


if __name__ == '__main__':
    main()
