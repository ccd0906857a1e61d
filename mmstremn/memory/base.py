"""What every memory offers: three calls over a state that is passed in and returned."""

import dataclasses
from collections.abc import Collection
from typing import Generic, TypeVar

from torch import Tensor, nn

from mmstremn.memory.state import Entry, MemoryState, Query

State = TypeVar('State', bound=MemoryState)


class Memory(nn.Module, Generic[State]):
    """A module that holds weights only; what it remembers is a :class:`MemoryState`.

    Attributes:
        per_object_key: Entries carry one key per object (G = O) instead of one for all (G = 1).
        state_class: The class of its states.
        bounded: Cost and memory stay the same however long the video is.
        follows_masks: ``pass_over`` wants the objects' masks.
    """

    state_class: type[State]
    per_object_key = False
    bounded = True
    follows_masks = False

    @property
    def needs_selection(self) -> bool:
        """Queries must carry a selection and entries a shrinkage."""
        return False

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> State:
        """An empty state.

        Args:
            entry: The first entry; it gives shapes, type and device and is not written.
            seeds: One per sample, for memories that draw; None: the global generator.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement init(entry, seeds)')

    def read(self, state: State, query: Query) -> tuple[Tensor, State]:
        """The readout (B, O, P, Cv), and the state, in which reading may have left a trace.

        What is not read per position goes to the decoder by :meth:`object_tokens`.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement read(state, query)')

    def object_tokens(self, state: State) -> Tensor:
        """(B, O, N, C): tokens of the objects, for decoders that read them beside the readout.

        They are a field of the state, which its class names in ``object_fields``; zero where there is none
        yet.

        Raises:
            TypeError: The memory keeps no tokens.
        """
        raise TypeError(
            f'{type(self).__name__} keeps no tokens of objects: this decoder needs a memory that does, '
            'such as RecentPromptedMemory'
        )

    def distance(self, state: State, query: Query) -> Tensor:
        """(B, G, P): distance of each query key to the nearest stored one, ``|q - k|^2 / sqrt(Ck)``.

        Raises:
            TypeError: The memory keeps no keys of frames.
        """
        raise TypeError(
            f'{type(self).__name__} keeps no keys of frames: a PresenceHead needs a memory that does, '
            'such as SlotMemory or GrowingMemory'
        )

    def timeline(self, state: State) -> Tensor | None:
        """(S,) long: the step whose frame each slot holds, -1 where empty, of the first sample and key group.

        None, as here: the memory has no fixed number of slots that hold a frame each.
        """
        return None

    def write(self, state: State, entry: Entry) -> State:
        """Offer an entry; without gradients ``state`` may be changed, so fork it with clone()."""
        raise NotImplementedError(f'{type(self).__name__} must implement write(state, entry)')

    def add_objects(self, state: State, number: int) -> State:
        """The state with ``number`` more objects, of which the next entry holds the first values."""
        return state.add_objects(number, self.per_object_key)

    def remove_objects(self, state: State, indices: Collection[int]) -> State:
        """The state without the objects ``indices``, in any order; entries hold no values for them any more.

        What is remembered of the others stays. Where objects decide together which frames are kept (by a
        learned selector, or by usage that is counted on the reads of the oldest objects), those to come may
        differ from what they would have been.

        Raises:
            ValueError: There is no such object, or none would be left.
        """
        return state.remove_objects(indices, self.per_object_key)

    def wants(self, state: State) -> bool:
        """Whether the next entry, if not prompted, is worth encoding: False if it changes only the clock."""
        return True

    def pass_over(self, state: State, decoded: Tensor | None = None) -> State:
        """The state after a frame whose entry was not wanted.

        Args:
            state: Before it.
            decoded: The decoder's features of the frame (B, O, P, C), for memories that follow them.

        If ``follows_masks`` it also gets ``mask`` (B, O, P), as in the extras of an entry.
        """
        return dataclasses.replace(state, step=state.step + 1)

    def penalty(self, state: State) -> dict[str, Tensor]:
        """What the memory adds to the loss of a clip after its last frame, by name."""
        return {}

    def untrained_parts(self, state: State) -> dict[str, str]:
        """Parts of the memory that learn, but that the clip behind ``state`` gives no gradient, and why."""
        return {}
