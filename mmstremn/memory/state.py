"""What passes between a model and a memory, as plain data: a query, an entry, a state.

Letters in shapes: B batch, G key groups (1: one key shared by all objects, O: one key per object), O objects,
S slots, P positions (h * w), Ck and Cv channels of a key and a value.
"""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from torch import Tensor

from mmstremn.memory.buffers import append_objects, empty_slots, keep_objects


@dataclass
class Query:
    """What a frame asks a memory.

    Attributes:
        key: (B, P, Ck).
        selection: (B, P, Ck) weights of the channels in 0..1 for the anisotropic L2 affinity, or None.
        extras: What only some memories need.
        found: What a read of this query leaves for other calls with the same state: ``'nearest'``, (B, G, P)
            the largest affinity of each position.
    """

    key: Tensor
    selection: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Tensor] = field(default_factory=dict)

    def on(self, grid: tuple[int, int]) -> 'Query':
        """The query with ``extras['grid']``, the (h, w) of its positions, for readers that need places."""
        return dataclasses.replace(self, extras=self.extras | {'grid': grid})


@dataclass
class Entry:
    """What a frame offers to a memory.

    Attributes:
        key: (B, G, P, Ck).
        value: (B, O, P, Cv); zero for objects that only pad a batch.
        grid: (h, w) with h * w = P; (1, 1) for tokens without a place.
        shrinkage: (B, G, P) >= 1 for the anisotropic L2 affinity, or None.
        prompted: The frame carries masks given by the user: it must be stored.
        extras: What only some memories need, filled in by the model; each may be missing:

            - ``decoded``: (B, O, P, C) features of the decoder, of the objects that were decoded.
            - ``mask``: (B, O, P) share of each position that the object covers, 0..1.
            - ``presence``: (B, O) probability that the object is in the frame.
            - ``confidence``: (B, O, P), or (B, O) for the whole mask: the probability that the mask is right,
              inside and outside; 1 where the user gave it. ``VOSegmentor`` gives max(p, 1 - p) of the mask's
              probability p, averaged over each position.
            - ``clip_length``: on the first entry of a training clip, the number of its frames.
    """

    key: Tensor
    value: Tensor
    grid: tuple[int, int]
    shrinkage: Tensor | None = None
    prompted: bool = False
    extras: dict[str, Any] = field(default_factory=dict)

    def required_shrinkage(self) -> Tensor:
        """The shrinkage.

        Raises:
            ValueError: There is none.
        """
        if self.shrinkage is None:
            raise ValueError('Entry.shrinkage: expected (B, G, P) as in the entry of init, got None')
        return self.shrinkage


@dataclass(kw_only=True)
class MemoryState:
    """Base of all states: dataclasses of tensors and small plain values.

    Attributes:
        births: For each object the step from which on entries hold a value for it; they never decrease.
        grid: (h, w).
        step: Entries offered so far; equal to the index of the frame that is read or written now.
        seeds: One seed per sample for random choices; None draws from the global generator.
        object_fields: The tensors whose axis 1 is the objects, and what they hold of an unknown object.
        group_fields: The same of the tensors whose axis 1 is the key groups.
    """

    object_fields: ClassVar[dict[str, int]] = {'value': 0}
    group_fields: ClassVar[dict[str, int]] = {}

    births: tuple[int, ...]
    grid: tuple[int, int]
    step: int = 0
    seeds: tuple[int, ...] | None = None

    @classmethod
    def for_objects_of(cls, entry: Entry, seeds: tuple[int, ...] | None = None, **fields: Any) -> Self:
        """The state of the objects of ``entry`` at step 0.

        Args:
            entry: Gives the number of objects and the grid.
            seeds: One per sample, for memories that draw.
            fields: The fields of the derived state.
        """
        height, width = entry.grid
        return cls(births=(0,) * entry.value.shape[1], grid=(height, width), seeds=seeds, **fields)

    @classmethod
    def with_slots(
        cls, entry: Entry, num_slots: int, seeds: tuple[int, ...] | None = None, **fields: Any
    ) -> Self:
        """The state of the objects of ``entry`` at step 0, with empty slots that entries like it fit into.

        Args:
            entry: Key (B, G, P, Ck), value (B, O, P, Cv).
            num_slots: S.
            seeds: One per sample, for memories that draw.
            fields: Those of the derived state but ``key`` (B, G, S, P, Ck) and ``value`` (B, O, S, P, Cv).
        """
        key, value = empty_slots(entry.key, num_slots), empty_slots(entry.value, num_slots)
        return cls.for_objects_of(entry, seeds, key=key, value=value, **fields)

    def add_objects(self, number: int, own_keys: bool = False) -> Self:
        """The state with ``number`` more objects, of which nothing is remembered.

        Args:
            number: How many.
            own_keys: Each object has a key group of its own (G = O).
        """
        grown: dict[str, Any] = {
            name: append_objects(tensor, number, fill)
            for name, (tensor, fill) in self._tensors_by_object(own_keys).items()
        }
        return dataclasses.replace(self, births=self.births + (self.step,) * number, **grown)

    def remove_objects(self, indices: Collection[int], own_keys: bool = False) -> Self:
        """The state without the objects ``indices``; the others keep their order and what is known of them.

        Args:
            indices: Places of objects among the O, in any order.
            own_keys: Each object has a key group of its own (G = O).

        Raises:
            ValueError: There is no such object, or none would be left.
        """
        kept = self._kept_objects(indices)
        fewer: dict[str, Any] = {
            name: keep_objects(tensor, kept)
            for name, (tensor, _) in self._tensors_by_object(own_keys).items()
        }
        return dataclasses.replace(self, births=tuple(self.births[index] for index in kept), **fewer)

    def _tensors_by_object(self, own_keys: bool) -> dict[str, tuple[Tensor, int]]:
        """The tensors that hold something for each object, and what they hold of an unknown one."""
        fills = self.object_fields | self.group_fields if own_keys else self.object_fields
        return {name: (tensor, fills[name]) for name, tensor in self.tensors().items() if name in fills}

    def _kept_objects(self, indices: Collection[int]) -> list[int]:
        """All objects but ``indices``."""
        objects = range(len(self.births))
        kept = [index for index in objects if index not in indices]
        if len(kept) + len(set(indices)) != len(objects):
            raise ValueError(f'expected indices of objects in 0..{len(objects) - 1}, got {sorted(indices)}')
        if not kept:
            raise ValueError('at least one object must be left: to forget all begin with a new state')
        return kept

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by field name (those that are None left out)."""
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def plain(self) -> dict[str, Any]:
        """Everything that is no tensor: values that JSON can hold."""
        return {f.name: value for f in fields(self) if not isinstance(value := getattr(self, f.name), Tensor)}

    def by_name(self) -> dict[str, Any]:
        """All fields by name: what a state of a class derived from this one begins with."""
        return {**self.tensors(), **self.plain()}

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A state whose tensors are ``function`` of these."""
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in self.tensors().items()}
        return dataclasses.replace(self, **changed)

    def clone(self) -> Self:
        """A fork: writing to one state leaves the other alone."""
        return self.map(Tensor.clone)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The state on another device."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    @property
    def nbytes(self) -> int:
        """Bytes held by the tensors."""
        return sum(tensor.nbytes for tensor in self.tensors().values())
