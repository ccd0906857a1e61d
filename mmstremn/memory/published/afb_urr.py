"""A bounded bank of features: new ones merge with similar ones, and the least frequently used make room.

The adaptive feature bank of AFB-URR (Liang et al., "Video Object Segmentation with Adaptive Feature Bank and
Uncertain-Region Refinement", NeurIPS 2020, section 3.2); the maths was checked against xmlyqing00/AFB-URR
model/FeatureBank.py and model/AFB_URR.py. The share of novel positions is that of SwiftNet (Wang et al., CVPR
2021).

N below is the number of places of the bank, each for one position of one frame.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.affinity import L2Affinity
from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import birth_groups, by_object, side_by_side
from mmstremn.memory.state import Entry, MemoryState, Query

CLOSE = 0.95  # cosine similarity above which two features are one
RATE = 0.1  # of the moving average
USED = 1e-3  # a query position uses a place that draws more of its attention than this
MOST_USAGE = 1e5
NOTHING_STORED = -2.0  # below every cosine


@dataclass
class BankState(MemoryState):
    """A bank of N places.

    Attributes:
        key: (B, 1, N, Ck), zero where empty.
        value: (B, O, N, Cv), zero where empty and for objects that appeared after the place was last changed.
        written_at: (B, 1, N) long: the step at which the feature was appended, -1 where empty.
        changed_at: (B, 1, N) long: the last step at which it was appended or merged into, -1 where empty.
        usage: (B, 1, N) float32: log(1 + query positions that use it), summed over the reads since it was
            appended.
    """

    key: Tensor
    value: Tensor
    written_at: Tensor
    changed_at: Tensor
    usage: Tensor


class MergingMemory(Memory[BankState]):
    """Positions, not frames, in a bank of bounded size.

    A new position whose best cosine similarity to a stored one is above .95 is merged into it by a moving
    average of rate .1 (several that choose the same one: their mean); every other is appended. The average is
    that of the features themselves; the public code averages directions and keeps the stored length, which
    then shrinks with every merge. Where no place is free, those least frequently used make room: the least
    usage per step since they were appended, of equal ones the oldest. Positions of prompted frames are all
    appended.

    The paper has a key and a bank per object. Here the key is shared and so is the bank: all objects' values
    lie side by side, merging and eviction follow from keys alone. An object that appears mid-video is read
    from the places changed since, and the first feature merged into an older place becomes its value there.
    Usage is counted by the reads of the objects that were there first, so a later one changes nothing for
    them.

    Args:
        capacity: N in frames: N = capacity * P.
        novel_share: Instead of merging, append this share of the positions of each frame, those with the
            least best similarity, and leave out the rest (SwiftNet: .1). None: merge.
        affinity: L2 by default, as for all shared keys (the paper's is DotAffinity).
    """

    state_class = BankState

    def __init__(
        self, capacity: int = 4, novel_share: float | None = None, affinity: nn.Module | None = None
    ):
        super().__init__()
        if capacity < 1:
            raise ValueError(f'MergingMemory.capacity must be at least 1 frame, got {capacity}')
        if novel_share is not None and not 0 < novel_share <= 1:
            raise ValueError(
                f'MergingMemory.novel_share must be above 0 and at most 1, or None, got {novel_share}'
            )
        self.capacity, self.novel_share = capacity, novel_share
        self.affinity = affinity or L2Affinity()
        if self.affinity.needs_selection:
            raise ValueError(
                'MergingMemory.affinity must need no selection (features have no shrinkage), '
                f'got {type(self.affinity).__name__}'
            )

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> BankState:
        """An empty bank; ``seeds`` are not used."""
        places = self.capacity * entry.key.shape[2]
        stamps = torch.full((entry.key.shape[0], 1, places), -1, device=entry.key.device)
        return BankState.for_objects_of(
            entry,
            seeds,
            key=entry.key.new_zeros(*entry.key.shape[:2], places, entry.key.shape[3]),
            value=entry.value.new_zeros(*entry.value.shape[:2], places, entry.value.shape[3]),
            written_at=stamps,
            changed_at=stamps.clone(),
            usage=torch.zeros(stamps.shape, device=stamps.device),
        )

    def read(self, state: BankState, query: Query) -> tuple[Tensor, BankState]:
        """The readout (B, O, P, Cv), and the state with its usage counted."""
        with torch.autocast(state.key.device.type, enabled=False):
            q, k = self.affinity(Query(query.key.float()), state.key.float())
            affinity = q @ k.transpose(-1, -2)  # (B, 1, P, N)
            readouts, usage = [], state.usage
            for birth, members in birth_groups(state.births):
                values = state.value[:, members].float()
                weight = affinity.masked_fill((state.changed_at < birth)[:, :, None], -math.inf).softmax(-1)
                readouts.append(by_object(weight[:, 0] @ side_by_side(values), values.shape[1]))
                if birth == state.births[0]:
                    users = (weight.detach() > USED).sum(2)
                    usage = (usage + (users + 1.0).log()).clamp(max=MOST_USAGE)
        return torch.cat(readouts, 1).to(state.value.dtype), dataclasses.replace(state, usage=usage)

    def write(self, state: BankState, entry: Entry) -> BankState:
        """Offer an entry; a new state is made."""
        similarity, nearest = _nearest(state, entry)
        if self.novel_share is None and not entry.prompted:
            close = similarity > CLOSE
            state = _merge(state, entry, nearest, close)
            number = similarity.shape[1]
        else:
            close = torch.zeros_like(similarity, dtype=torch.bool)
            share = 1.0 if entry.prompted or state.step == 0 else self.novel_share or 1.0
            number = math.ceil(share * similarity.shape[1])
        similarity = similarity.masked_fill(close, math.inf)
        novel = similarity.argsort(stable=True, dim=-1)[:, :number]  # the most novel first, those merged last
        state = _append(state, entry, novel, ~close.gather(1, novel))
        return dataclasses.replace(state, step=state.step + 1)


@torch.no_grad()
def _nearest(state: BankState, entry: Entry) -> tuple[Tensor, Tensor]:
    """The best cosine similarity (B, P) of each new position to a stored one, and its place (B, P)."""
    with torch.autocast(state.key.device.type, enabled=False):
        new, old = F.normalize(entry.key[:, 0].float(), dim=-1), F.normalize(state.key[:, 0].float(), dim=-1)
        cosine = new @ old.transpose(1, 2)  # (B, P, N)
    return cosine.masked_fill(state.written_at < 0, NOTHING_STORED).max(-1)


def _merge(state: BankState, entry: Entry, place: Tensor, close: Tensor) -> BankState:
    """Move stored features towards those new ones (B, P) that are close, each at its place (B, P)."""
    share = close[:, None].float()
    count = torch.zeros_like(state.usage).scatter_add_(2, place[:, None], share)  # (B, 1, N)
    hit = count > 0
    unknown = torch.cat([state.changed_at < birth for birth in state.births], 1)  # (B, O, N)

    def blend(old: Tensor, new: Tensor, rate: Tensor | float) -> Tensor:
        index = place[:, None, :, None].expand_as(new)
        total = torch.zeros(old.shape, device=old.device).scatter_add(
            2, index, new.float() * share[..., None]
        )
        mean = total / count.clamp(min=1)[..., None]
        return torch.where(hit[..., None], (old + rate * (mean - old)).to(old.dtype), old)

    return dataclasses.replace(
        state,
        key=blend(state.key, entry.key, RATE),
        value=blend(state.value, entry.value, torch.where(unknown, 1.0, RATE)[..., None]),
        changed_at=torch.where(hit, state.step, state.changed_at),
    )


def _append(state: BankState, entry: Entry, novel: Tensor, stored: Tensor) -> BankState:
    """Put the new positions ``novel`` (B, K) where ``stored`` (B, K), in the order of eviction."""
    place = _eviction_order(state)[:, : novel.shape[1]]

    def put(old: Tensor, new: Tensor | int | float) -> Tensor:
        tail = [1] * (old.dim() - 3)
        shape = (-1, old.shape[1], -1, *old.shape[3:])
        index = place.view(len(place), 1, -1, *tail).expand(shape)
        if isinstance(new, Tensor):
            new = new.gather(2, novel.view(len(novel), 1, -1, *tail).expand(shape)).to(old.dtype)
        return old.scatter(
            2, index, torch.where(stored.view(len(stored), 1, -1, *tail), new, old.gather(2, index))
        )

    return dataclasses.replace(
        state,
        key=put(state.key, entry.key),
        value=put(state.value, entry.value),
        written_at=put(state.written_at, state.step),
        changed_at=put(state.changed_at, state.step),
        usage=put(state.usage, 0.0),
    )


def _eviction_order(state: BankState) -> Tensor:
    """All places (B, N) in the order of eviction: empty, then by usage per step, then the oldest."""
    stamps = state.written_at[:, 0]
    frequency = state.usage[:, 0] / (state.step - stamps).clamp(min=1)
    by_age = stamps.argsort(stable=True, dim=-1)
    rank = frequency.masked_fill(stamps < 0, -1).gather(1, by_age).argsort(stable=True, dim=-1)
    return by_age.gather(1, rank)
