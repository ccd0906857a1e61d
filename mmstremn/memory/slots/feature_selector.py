"""A learned selector that scores slots by what can be said of any memory in a few numbers."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.gates import mask_confidence
from mmstremn.memory.slots.gumbel import gumbel_softmax
from mmstremn.memory.slots.noise import uniform
from mmstremn.memory.slots.selectors import Selector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

SHOWN = 0.5  # positions that a mask covers, from which on the frame shows the object
EMPTY = 1e4  # the score of an empty slot
FEATURES = (
    *('likeness', 'nearest', 'likeness_to_all', 'age', 'unused', 'usage', 'relevance', 'is_new', 'prompted'),
    *('covered', 'presence', 'confidence', 'shows_none', 'alone', 'share', 'surer', 'popularity', 'away'),
    *('first_look', 'last_look'),
)


class Notes(NamedTuple):
    """What is noted of each object in each of N candidates, each (B, O, N).

    Attributes:
        covered: Positions that its mask covers.
        presence: Probability that it is in the frame, 1 where that was not said.
        confidence: Probability that its mask is right, 1 where that was not said.
        prompted: 1 where the user gave masks.
    """

    covered: Tensor
    presence: Tensor
    confidence: Tensor
    prompted: Tensor


class FeatureSelector(Selector):
    """Each slot, and the new frame, is described by ``FEATURES`` and scored by one small network.

    The features: likeness of the keys to the new frame and among the slots; age, time since a slot was last
    read, and usage; how much of the objects it shows, how surely, which objects it alone shows or shows best;
    how often these objects were seen and how long ago. Ages are logarithms in units of the time between
    stores. Nothing depends on the number of slots, on the channels of keys and values or on the length of the
    video. In training the choice is drawn with Gumbel-Softmax and learns by :class:`History`, as in
    :class:`GumbelSelector`; in evaluation it is the arg-max. Before it has learned anything it drops the
    oldest.

    Args:
        channels: Width of the network.
        temperature: Of Gumbel-Softmax.
    """

    needs_relevance = True
    needs_keys = True
    needs_usage = True
    needs_notes = True

    def __init__(self, channels: int = 48, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature
        first, last = nn.Linear(2 * len(FEATURES), channels), nn.Linear(channels, 1, bias=False)
        self.network = nn.Sequential(first, nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last)
        nn.init.normal_(last.weight, std=0.01)
        self.age_weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Logits (B, G, S + 1); the last is that of skipping."""
        return self.score_features(self.features(state, entry)).masked_fill(
            F.pad(state.written_at < 0, (0, 1)), EMPTY
        )

    def choose(self, logits: Tensor, state: SlotState) -> Tensor:
        """One-hot choices (B, G, S + 1): sampled straight-through in training, arg-max in evaluation."""
        if not self.training:
            return super().choose(logits, state)
        return gumbel_softmax(logits, uniform(state, tuple(logits.shape[1:])), self.temperature)

    def score_features(self, features: Tensor) -> Tensor:
        """Logits (..., S + 1) of features (..., S + 1, F)."""
        mean = features.mean(-2, keepdim=True).expand_as(features)
        own = self.network(torch.cat([features, features - mean], -1)).squeeze(-1)
        return own + self.age_weight * features[..., FEATURES.index('age')]

    def features(self, state: SlotState, entry: Entry) -> Tensor:
        """(B, G, S + 1, F), of all slots and the new frame.

        Raises:
            ValueError: The state was made by a memory whose selector needs no notes.
        """
        notes, sightings, relevance = state.notes, state.sightings, state.relevance
        if notes is None or sightings is None or relevance is None:
            raise ValueError(
                'FeatureSelector needs SlotState.notes, sightings and relevance, which only a memory with it '
                'keeps, got None'
            )
        with torch.autocast(entry.key.device.type, enabled=False):
            by_slot = [*_likenesses(state, entry), *_times(state, relevance)]
            by_object = self._of_objects(state, entry, notes, sightings)
            groups = entry.key.shape[1]
            return torch.stack([part.expand(-1, groups, -1) for part in (*by_slot, *by_object)], -1).float()

    def _of_objects(self, state: SlotState, entry: Entry, kept: Tensor, sightings: Tensor) -> list[Tensor]:
        """The features that notes and sightings give, each (B, G, S + 1)."""
        notes = Notes(*torch.cat([kept, notes_of(entry)[:, :, None]], 2).unbind(-1))
        filled = F.pad(state.written_at >= 0, (0, 1), value=True)
        shown = (notes.covered > SHOWN) & filled
        stamps = F.pad(state.written_at, (0, 1), value=state.step).expand_as(shown).float()
        number = shown.sum(-1, keepdim=True).clamp(min=1)
        sure = notes.confidence.masked_fill(~shown, 0)
        best = sure.amax(-1, keepdim=True)
        first = stamps == stamps.masked_fill(~shown, math.inf).amin(-1, keepdim=True)
        last = stamps == stamps.masked_fill(~shown, -1).amax(-1, keepdim=True)
        count, seen_at = sightings.unbind(-1)  # (B, O)
        popularity = count / count.sum(1, keepdim=True).clamp(min=1)
        away = ((state.step - seen_at).clamp(min=0) / _unit(state).squeeze(-1)).log1p()

        def most(value: Tensor) -> Tensor:
            """Of the objects that a candidate shows; of its own where each has its key."""
            value = value.expand_as(shown).float().masked_fill(~shown, 0)
            return value if entry.key.shape[1] > 1 else value.amax(1, keepdim=True)

        return [
            most(notes.prompted),
            most(notes.covered.log1p()),
            most(notes.presence),
            most(sure),
            1 - most(torch.ones_like(sure)),
            most((number == 1).float()),
            most(1 / number),
            most((sure >= best).float()),
            most(popularity[..., None]),
            most(away[..., None]),
            most(first.float()),
            most(last.float()),
        ]


def notes_of(entry: Entry) -> Tensor:
    """(B, O, 4) in the order of :class:`Notes`."""
    extras, like = entry.extras, entry.value[..., 0].float()
    mask = extras.get('mask')
    covered = like.new_full(like.shape[:2], like.shape[-1]) if mask is None else mask.float().sum(-1)
    presence = extras.get('presence')
    confidence = None if extras.get('confidence') is None else mask_confidence(entry, per_object=True)
    one = torch.ones_like(covered)
    values = [covered, one if presence is None else presence, one if confidence is None else confidence]
    return torch.stack([*values, one * float(entry.prompted)], -1)


def sighted(sightings: Tensor, notes: Tensor, step: int) -> Tensor:
    """Sightings (B, O, 2) after a frame: how many frames offered showed the object, and when the last did.

    Args:
        sightings: Before it.
        notes: (B, O, 4) of the frame.
        step: Of the frame.
    """
    shown = notes[..., 0] > SHOWN
    count, seen_at = sightings.unbind(-1)
    return torch.stack([count + shown, seen_at.masked_fill(shown, float(step))], -1)


def _unit(state: SlotState) -> Tensor:
    """(B, G, 1): steps since the last store, at least 1."""
    return (state.step - state.written_at.amax(-1, keepdim=True)).clamp(min=1).float()


def _likenesses(state: SlotState, entry: Entry) -> list[Tensor]:
    """Cosine to the new frame, to the nearest other candidate, and on average, each (B, G, S + 1)."""
    frames = F.normalize(torch.cat([state.key, entry.key[:, :, None]], 2).float(), dim=-1)
    cosine = (frames.flatten(3) @ frames.flatten(3).transpose(-1, -2)) / frames.shape[3]
    others = cosine - 2 * torch.eye(frames.shape[2], device=frames.device)
    return [cosine[..., -1], others.amax(-1), cosine.mean(-1)]


def _times(state: SlotState, relevance: Tensor) -> list[Tensor]:
    """Age, time since the last read, usage, relevance, and whether it is the new frame; (B, G, S + 1)."""
    empty, unit = state.written_at < 0, _unit(state)
    age = (state.step - state.written_at).masked_fill(empty, 0).float()
    unused = (state.step - torch.maximum(state.read_at, state.written_at)).masked_fill(empty, 0).float()
    number = (~empty).sum(-1, keepdim=True)
    usage = state.hits * number / age.clamp(min=1)
    relevant = relevance.clamp(min=0) * number
    parts = [(age / unit).log1p(), (unused / unit).log1p(), usage.log1p(), relevant.log1p()]
    return [*(F.pad(part, (0, 1)) for part in parts), F.pad(torch.zeros_like(age), (0, 1), value=1.0)]
