"""Episodes: edited videos as recorded features, in which a frame costs a read.

The true masks at the memory's stride stand for values: a read propagates labels, as the memory's own reader
weighs them (by L2, of the most similar positions alone). What is stored after a read is what was read, so
that errors are fed back, unless a frame is prompted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.datasets.vos.edited_videos import LOOKS, EditedVideo, EditedVideoDataset
from mmstremn.engine.recorded.recording import Recording, read_or_record
from mmstremn.memory import Entry, SlotMemory, SlotState
from mmstremn.memory.slots.reading import count_usage
from mmstremn.models import VOSegmentor
from mmstremn.models.segmentation.presence import PresenceHead

K = 10  # positions that a read weighs
PAINTED = 0.5  # a position is painted from here on
SHARPNESS = 3.0  # of the masks that are stored: a decoder's are sharper than a mean of labels


class Episode:
    """An edited video at whole steps.

    Args:
        video: What is shown when.
        recordings: Of the data set's sequences, in order.

    Attributes:
        key: (T, P, Ck).
        truth: (T, O, P) share of each position that each object covers.
        births: (O,) the step at which each object is prompted; objects are in that order.
        shots: (first step, number of steps) of each shot.
    """

    def __init__(self, video: EditedVideo, recordings: Sequence[Recording]):
        self.name, self.grid = video.name, recordings[0].grid
        looks, frames = [*LOOKS], []
        self.shots: list[tuple[int, int]] = []
        for end, shot in zip(video.ends, video.shots, strict=True):
            self.shots.append((end - shot.length, shot.length))
            last = video.sequences[shot.source].steps - 1
            look = looks.index(shot.look)
            frames += [(shot.source, look, shot.place(k, last), shot.object_id) for k in range(shot.length)]
        self.key = torch.stack([recordings[s].key[look, step].float() for s, look, step, _ in frames])
        masks = torch.stack([recordings[s].mask[look, step].float() for s, look, step, _ in frames])
        numbers = torch.tensor([number for *_, number in frames])
        shown = {int(n): ((numbers == n) & masks.any(-1)).nonzero()[:1, 0] for n in numbers.unique() if n}
        births = sorted((int(first), n) for n, first in shown.items() if len(first))
        self.births = tuple(first for first, _ in births)
        self.truth = torch.stack([masks * (numbers == n)[:, None] for _, n in births], 1)
        pool = {frame[:3]: None for frame in frames}
        self._place = [list(pool).index(frame[:3]) for frame in frames]
        self._first = [self._place.index(place) for place in range(len(pool))]
        self._top: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.key)

    def top(self, query: int, stamps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """For each position of a step the K most similar ones of each of some steps.

        Returns:
            Affinities (P, N, K) and positions (P, N, K) of the N steps.
        """
        place, held = self._place[query], [self._place[stamp] for stamp in stamps]
        if missing := [frame for frame in dict.fromkeys(held) if (place, frame) not in self._top]:
            q, k = self.key[query], self.key[[self._first[frame] for frame in missing]]
            affinity = 2 * q @ k.flatten(0, 1).T - k.square().sum(-1).flatten()
            affinity = affinity.unflatten(1, (len(k), -1)) / q.shape[-1] ** 0.5
            top, index = affinity.topk(min(K, affinity.shape[-1]), -1)
            found = zip(top.unbind(1), index.short().unbind(1), strict=True)
            self._top |= {(place, frame): pair for frame, pair in zip(missing, found, strict=True)}
        affinities, positions = zip(*(self._top[place, frame] for frame in held), strict=True)
        return torch.stack(affinities, 1), torch.stack(positions, 1)

    def read(
        self, query: int, stamps: Tensor, value: Tensor, usable: Tensor, every: int = 1
    ) -> tuple[Tensor, ...]:
        """Propagate labels to a step, for R alternatives of what is held.

        Args:
            query: The step.
            stamps: (N,) steps of the frames held.
            value: (O, N, P) their labels.
            usable: (R, O, N) bool: which of them each object reads.
            every: Only every n-th of the step's positions reads; P below is their number.

        Returns:
            Labels (R, O, P), the shares of the attention (R, N), and (R, P), the distance of each position to
            the nearest one held.
        """
        top, index = (part[::every] for part in self.top(query, stamps.tolist()))
        k = top.shape[-1]
        rows, row = usable.flatten(0, 1).unique(dim=0, return_inverse=True)
        masked = top.masked_fill(~rows[:, None, :, None], float('-inf')).flatten(2)  # (G, P, N * K)
        best, place = masked.topk(min(K, masked.shape[-1]), -1)
        weight = best.softmax(-1)
        slot = place // k
        position = slot * value.shape[-1] + index.flatten(1).long().expand_as(masked).gather(-1, place)
        objects = torch.arange(value.shape[0]).repeat(usable.shape[0])[:, None, None]
        labels = (value.flatten(1)[objects, position[row]] * weight[row]).sum(-1)
        shares = torch.zeros(len(rows), len(stamps)).scatter_add_(1, slot.flatten(1), weight.flatten(1))
        shares = (shares / top.shape[0])[row].unflatten(0, usable.shape[:2]).mean(1)
        nearest = top[..., 0].masked_fill(~usable.any(1)[:, None], float('-inf')).amax(-1)
        own = self.key[query][::every].square().sum(-1) / self.key.shape[-1] ** 0.5
        return labels.unflatten(0, usable.shape[:2]), shares, (own - nearest).clamp(min=0)


@dataclass
class Run:
    """What a memory made of an episode.

    Attributes:
        scores: (T, O) J of each object at each step, NaN up to its prompt.
        shown: (T, O) bool: the object is in the picture.
        kept: (T, S) the steps held after each step.
    """

    scores: Tensor
    shown: Tensor
    kept: list[list[int]] = field(default_factory=list)

    @property
    def balanced(self) -> float:
        """J, half by the steps that show an object and half by those that do not, mean over the objects."""
        halves = torch.stack([self.of(self.shown), self.of(~self.shown)])
        return float(halves.nanmean(0).nanmean())

    @property
    def all_steps(self) -> float:
        """J over all steps alike, mean over the objects, as DAVIS averages."""
        return float(self.scores.nanmean(0).nanmean())

    @property
    def j_shown(self) -> float:
        """J over the steps that show an object, mean over the objects."""
        return float(self.of(self.shown).nanmean())

    @property
    def false_alarms(self) -> float:
        """Share of the steps without an object in which it is painted, mean over the objects."""
        return 1 - float(self.of(~self.shown).nanmean())

    def of(self, steps: Tensor) -> Tensor:
        """(O,) means over the ``steps`` (T, O); NaN where there is none."""
        return self.scores.masked_fill(~steps, float('nan')).nanmean(0)


@torch.no_grad()
def run_episode(
    memory: SlotMemory,
    episode: Episode,
    presence: PresenceHead | None = None,
    seed: int = 0,
    true_masks: bool = False,
) -> Run:
    """Segment an episode.

    Args:
        memory: In evaluation mode; its selector and gates decide what is kept. Gates that count frames, such
            as ``EveryN``, count steps.
        episode: An edited video.
        presence: Of the model: says which objects are absent.
        seed: For rules that draw.
        true_masks: What is stored are the true masks instead of those that were read.
    """
    births = episode.births
    scores = torch.full((len(episode), len(births)), float('nan'))
    run = Run(scores, episode.truth.any(-1))
    state = None
    if hasattr(memory.selector, 'episode'):
        memory.selector.episode, memory.selector.presence = episode, presence
    for step in range(births[0], len(episode)):
        known = sum(birth < step for birth in births)
        new = sum(birth == step for birth in births)
        labels, extras = torch.zeros(known, episode.key.shape[1]), {}
        if known:
            labels, probability, share = propagate(episode, state, step, presence)
            state = count_usage(state, share)
            scores[step, :known] = soft_j(labels, episode.truth[step, :known])
            extras = dict(presence=F.pad(probability, (0, new), value=1)[None])
            if new:
                state = memory.add_objects(state, new)
        labels = torch.cat([labels, episode.truth[step, known : known + new]])
        if true_masks:
            labels = episode.truth[step, : known + new]
        entry = make_entry(episode, step, labels, extras, bool(new))
        state = memory.init(entry, (seed,)) if state is None else state
        if state.step == 0:
            state.step = step
            state.births = (step,) * new
        state = memory.write(state, entry)
        run.kept.append(state.written_at[0, 0].tolist())
    return run


def make_entry(episode: Episode, step: int, labels: Tensor, extras: dict, prompted: bool) -> Entry:
    """What a step offers to the memory."""
    mask = labels[None]
    extras = dict(presence=torch.ones(1, len(labels))) | extras | dict(mask=mask)
    extras['confidence'] = torch.maximum(mask, 1 - mask)
    sharp = labels**SHARPNESS / (labels**SHARPNESS + (1 - labels) ** SHARPNESS)
    return Entry(episode.key[step][None, None], sharp[None, :, :, None], episode.grid, None, prompted, extras)


def propagate(
    episode: Episode, state: SlotState, step: int, presence: PresenceHead | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (O, P), the probability (O,) that each object is there, and shares of the attention (1, 1, S).

    Labels of absent objects are 0.
    """
    stamps = state.written_at[0, 0]
    filled = (stamps >= 0).nonzero()[:, 0]
    usable = state.valid[0][:, filled][None]
    labels, share, distance = episode.read(step, stamps[filled], state.value[0, :, filled, :, 0], usable)
    labels, probability = gated(labels, distance, presence)
    shares = torch.zeros(1, 1, len(stamps))
    shares[0, 0, filled] = share[0]
    return labels[0], probability[0], shares


def gated(labels: Tensor, distance: Tensor, presence: PresenceHead | None) -> tuple[Tensor, Tensor]:
    """Labels (R, O, P) without absent objects, and the probabilities (R, O) that they are there.

    Args:
        labels: (R, O, P).
        distance: (R, P) of each position to the nearest one held.
        presence: Says so of a grid without place, here one row.
    """
    if presence is None:
        return labels, torch.ones(labels.shape[:2])
    probability = presence(distance[:, None], labels[:, :, None], (1, labels.shape[-1])).sigmoid()
    return labels * (probability >= presence.threshold)[..., None], probability


def soft_j(labels: Tensor, truth: Tensor) -> Tensor:
    """J (..., O) of labels (..., O, P) and the truth (O, P), the shares of positions taken as they are.

    Where the truth is empty it is 1 if no position is painted by more than a half, else 0.
    """
    both, either = torch.minimum(labels, truth).sum(-1), torch.maximum(labels, truth).sum(-1)
    empty = (labels <= PAINTED).all(-1).float()
    return torch.where(truth.any(-1), both / either.clamp(min=1e-6), empty)


def iterate_episodes(
    model: VOSegmentor, dataset: EditedVideoDataset, folder: Path, number: int | None = None
) -> Iterator[Episode]:
    """The episodes of the first ``number`` videos of a data set (all if None), one at a time.

    Args:
        model: Records the sequences of which ``folder`` has no recording.
        dataset: Of edited videos.
        folder: Of recordings of this data set by this model.
        number: How many.
    """
    recordings: list[Recording] = []
    for index in range(len(dataset))[:number]:
        video = dataset[index]['inputs']
        if not recordings:
            recordings = [read_or_record(model, sequence, folder) for sequence in video.sequences]
        yield Episode(video, recordings)
