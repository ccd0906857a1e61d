"""SAM 2's memory: the most recent frames, prompted frames, and a pointer per object and frame."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmstremn.memory.affinity import DotAffinity
from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import birth_groups, put
from mmstremn.memory.readers import MASKED
from mmstremn.memory.state import Entry, MemoryState, Query


@dataclass
class RecentPromptedState(MemoryState):
    """S = recent + prompted slots and R object pointers.

    Attributes:
        key: (B, 1, S, P, Ck), the recent slots first; zero where empty, as all that follows.
        value: (B, O, S, P, Cv).
        written_at: (B, 1, S) long: the step at which the slot was written, -1 where empty.
        pointers: (B, O, R, Cv); that of step t is at t % R.
        recents: Entries without a prompt so far.
        prompts: Prompted entries so far.
    """

    key: Tensor
    value: Tensor
    written_at: Tensor
    pointers: Tensor
    recents: int = 0
    prompts: int = 0

    object_fields = {'value': 0, 'pointers': 0}

    @property
    def pointed_at(self) -> Tensor:
        """(R,) long: the step of each pointer, negative where there is none."""
        newest = self.step - 1
        return (
            newest
            - (newest - torch.arange(self.pointers.shape[2], device=self.pointers.device))
            % self.pointers.shape[2]
        )


class RecentPromptedMemory(Memory[RecentPromptedState]):
    """The latest frames and those that the user has prompted, distinguished by a learned temporal code.

    SAM 2 (Ravi et al., 2024); checked against facebookresearch/sam2 sam2/modeling/sam2_base.py.

    - Frames without a prompt go round the recent slots; prompted frames go to slots of their own, which keep
      the first of them and the latest others (the public code keeps all and reads the nearest: its state
      grows).
    - A code (Ck) is added to the keys: one for each distance in frames of the recent slots, 1 to
      ``num_recent`` (further slots, which prompted frames in between can cause, have the last), and one for
      all prompted slots.
    - Every frame leaves a pointer per object: the decoder's features (the value, where the object was not
      decoded) averaged with its mask as weight (uniformly without masks) and projected to Cv. A mask of less
      than one position in all gives a pointer that is smaller in proportion. The public code takes the token
      of its mask decoder instead.
    - One softmax runs over the positions of the slots and the object's pointers. The affinity to positions is
      computed once for all objects born at the same step; pointers join by their log-sum-exp.
    - An object that appears mid-video reads slots and pointers since its birth.

    Args:
        num_recent: Slots of the latest frames (SAM 2: 6).
        num_prompted: Slots of prompted frames; with 1 the latest is kept.
        num_pointers: R, the latest frames that leave pointers.
        affinity: DotAffinity by default; one that needs no selection.
        key_channels: Ck.
        value_channels: Cv.
        decoder_channels: Of ``extras['decoded']``.

    Raises:
        ValueError: A number is below 1, or the affinity needs a selection.
    """

    state_class = RecentPromptedState

    def __init__(
        self,
        num_recent: int = 6,
        num_prompted: int = 2,
        num_pointers: int = 16,
        affinity: nn.Module | None = None,
        key_channels: int = 64,
        value_channels: int = 256,
        decoder_channels: int = 256,
    ):
        super().__init__()
        for name, number in dict(
            num_recent=num_recent, num_prompted=num_prompted, num_pointers=num_pointers
        ).items():
            if number < 1:
                raise ValueError(f'RecentPromptedMemory.{name} must be at least 1, got {number}')
        self.affinity = affinity or DotAffinity()
        if self.affinity.needs_selection:
            name = type(self.affinity).__name__
            raise ValueError(f'RecentPromptedMemory.affinity must be one without a selection, got {name}')
        self.num_recent, self.num_prompted, self.num_pointers = num_recent, num_prompted, num_pointers
        self.codes = nn.Parameter(torch.empty(num_recent + 1, key_channels))
        nn.init.trunc_normal_(self.codes, std=0.02)
        self.from_decoded = nn.Linear(decoder_channels, value_channels, bias=False)
        self.from_value = nn.Linear(value_channels, value_channels, bias=False)
        self.pointer_key = nn.Linear(value_channels, key_channels, bias=False)

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> RecentPromptedState:
        """Empty slots; ``seeds`` are not used."""
        (batch, objects, positions, width), slots = entry.value.shape, self.num_recent + self.num_prompted
        return RecentPromptedState.for_objects_of(
            entry,
            seeds,
            key=entry.key.new_zeros(batch, 1, slots, positions, entry.key.shape[-1]),
            value=entry.value.new_zeros(batch, objects, slots, positions, width),
            written_at=torch.full((batch, 1, slots), -1, device=entry.key.device),
            pointers=entry.value.new_zeros(batch, objects, self.num_pointers, width),
        )

    def read(self, state: RecentPromptedState, query: Query) -> tuple[Tensor, RecentPromptedState]:
        """The readout (B, O, P, Cv), and the state as it was."""
        to_positions, to_pointers = self._affinities(state, query)
        stamps = state.written_at.repeat_interleave(state.key.shape[3], -1)  # (B, 1, S * P)
        readouts = []
        for birth, members in birth_groups(state.births):
            readouts.append(
                joint_attention(
                    to_positions.masked_fill(stamps < birth, MASKED),
                    state.value[:, members].flatten(2, 3),
                    to_pointers[:, members].masked_fill(state.pointed_at < birth, MASKED),
                    state.pointers[:, members],
                )
            )
        return torch.cat(readouts, 1), state

    def object_tokens(self, state: RecentPromptedState) -> Tensor:
        """The pointers (B, O, R, Cv)."""
        return state.pointers

    def timeline(self, state: RecentPromptedState) -> Tensor:
        """The recent slots first, then the prompted ones."""
        return state.written_at[0, 0]

    def write(self, state: RecentPromptedState, entry: Entry) -> RecentPromptedState:
        """Offer an entry. Without gradients the buffers of ``state`` are changed."""
        slot = self._prompted_slot(state.prompts) if entry.prompted else state.recents % self.num_recent
        stamp = torch.full_like(state.written_at[:, :, :1], state.step)
        pointer = self.point(state, entry)
        return dataclasses.replace(
            state,
            key=put(state.key, slot, entry.key.unsqueeze(2)),
            value=put(state.value, slot, entry.value.unsqueeze(2)),
            written_at=put(state.written_at, slot, stamp),
            pointers=put(state.pointers, state.step % self.num_pointers, pointer.unsqueeze(2)),
            recents=state.recents + (not entry.prompted),
            prompts=state.prompts + entry.prompted,
            step=state.step + 1,
        )

    def point(self, state: RecentPromptedState, entry: Entry) -> Tensor:
        """The objects' pointers (B, O, Cv)."""
        mask, decoded = entry.extras.get('mask'), entry.extras.get('decoded')
        if mask is None:
            mask = torch.ones_like(entry.value[..., 0])
        old = sum(birth < state.step for birth in state.births)
        dtype = self.from_value.weight.dtype
        if decoded is None:
            return self.from_value(_pool(entry.value.to(dtype), mask))
        pointers = self.from_value(_pool(entry.value[:, old:].to(dtype), mask[:, old:]))
        if old:
            known = self.from_decoded(_pool(decoded[:, :old].to(dtype), mask[:, :old]))
            pointers = torch.cat([known, pointers], 1)
        return pointers

    def _prompted_slot(self, prompts: int) -> int:
        """The slot of a prompted frame after ``prompts`` others; the first stays if there is room."""
        others = self.num_prompted - 1
        return self.num_recent + (1 + (prompts - 1) % others if prompts and others else 0)

    def _affinities(self, state: RecentPromptedState, query: Query) -> tuple[Tensor, Tensor]:
        """To the slots' positions (B, P, S * P) and to each object's pointers (B, O, P, R), in float32."""
        distance = (state.step - state.written_at).clamp(1, self.num_recent) - 1
        prompted = torch.arange(distance.shape[-1], device=distance.device) >= self.num_recent
        code = self.codes[distance.masked_fill(prompted, self.num_recent)]  # (B, 1, S, Ck)
        pointer_key = self.pointer_key(state.pointers.to(self.pointer_key.weight.dtype))
        with torch.autocast(query.key.device.type, enabled=False):
            query = Query(query.key.float())
            q, k = self.affinity(query, (state.key.float() + code.float()[..., None, :]).flatten(2, 3))
            to_positions = (q @ k.transpose(-1, -2))[:, 0]
            q, k = self.affinity(query, pointer_key.float())
            return to_positions, q @ k.transpose(-1, -2)


def joint_attention(to_positions: Tensor, value: Tensor, to_pointers: Tensor, pointers: Tensor) -> Tensor:
    """One softmax over positions, whose affinity the objects share, and over each object's own pointers.

    The two attentions are computed apart and mixed in proportion to the sums of their exponentials.

    Args:
        to_positions: (B, P, N) float32.
        value: (B, O, N, Cv).
        to_pointers: (B, O, P, R) float32.
        pointers: (B, O, R, Cv).

    Returns:
        (B, O, P, Cv).
    """
    with torch.autocast(value.device.type, enabled=False):
        of_positions = torch.einsum('bpn,bonc->bopc', to_positions.softmax(-1), value.float())
        of_pointers = to_pointers.softmax(-1) @ pointers.float()
        share = (to_positions.logsumexp(-1)[:, None] - to_pointers.logsumexp(-1)).sigmoid()[..., None]
        return (share * of_positions + (1 - share) * of_pointers).to(value.dtype)


def _pool(feature: Tensor, mask: Tensor) -> Tensor:
    """Features (B, O, P, C) averaged with a mask (B, O, P) of at least one position as weight: (B, O, C)."""
    mask = mask.to(feature.dtype)
    return torch.einsum('bop,bopc->boc', mask, feature) / mask.sum(-1, keepdim=True).clamp(min=1)
