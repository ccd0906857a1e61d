"""What passes between the steps of a frame of a tracker."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import torch
from torch import Tensor

from mmstremn.memory import Query


@dataclass
class Features:
    """What depends on the frame alone.

    Attributes:
        query: Its key is the image features (1, P, C); its extras hold the attention that reads.
        maps: The finer feature maps (1, C, H, W) that the mask decoder refines with.
        position: (P, 1, C) position code.
        grid: (h, w).
    """

    query: Query
    maps: list[Tensor]
    position: Tensor
    grid: tuple[int, int]


@dataclass
class Prompts:
    """What is given for a frame, at the size at which the model computes.

    Attributes:
        features: Of the frame.
        total: O, known and new objects.
        masks: By place among the O: (1, 1, S, S) of 0 and 1; those of places that have points too are
            refined by these.
        points: By place: coordinates (1, 1, N, 2) and labels (1, 1, N).
    """

    features: Features
    total: int
    masks: dict[int, Tensor]
    points: dict[int, tuple[Tensor, Tensor]]


@dataclass
class Masks:
    """What was decoded of O objects.

    Attributes:
        low: (O, h, w) mask logits.
        iou: (O,) predicted.
        score: (O,) logits of presence.
        pointer: (O, C).
        overlap: (O,) IoU of the box with that of the least alike mask not taken; 1 where not looked at.
        prompted: Places of the prompted objects.
        given: By place, the masks (1, 1, S, S) that the user gave and no points refine.
    """

    low: Tensor
    iou: Tensor
    score: Tensor
    pointer: Tensor
    overlap: Tensor
    prompted: list[int] = field(default_factory=list)
    given: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence['Masks']) -> Self:
        """The objects of all parts, none of them prompted."""
        names = [f.name for f in fields(cls) if f.name not in ('prompted', 'given')]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def split(self, number: int) -> list['Masks']:
        """Equal parts, none of whose objects is prompted."""
        names = [f.name for f in fields(self) if f.name not in ('prompted', 'given')]
        chunks = zip(*(getattr(self, name).chunk(number) for name in names), strict=True)
        return [Masks(**dict(zip(names, chunk, strict=True))) for chunk in chunks]

    def one(self, place: int) -> 'Masks':
        """A single object, as if it were not prompted."""
        here = slice(place, place + 1)
        return Masks(self.low[here], self.iou[here], self.score[here], self.pointer[here], self.overlap[here])
