"""What slots hold, and how a frame is written to them, in numpy: the part of a memory that is no graph."""

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-4  # as in mmstremn.memory.slots.reading
RELEVANCE_KEPT = 0.2


@dataclass
class Slots:
    """The state of a SlotMemory or GrowingMemory, as ``SlotState`` describes it, of one video.

    Attributes:
        tensors: ``key`` (1, G, S, P, Ck), ``value`` (1, O, S, P, Cv), ``written_at``, ``read_at``, ``hits``
            (1, G, S), and what else the contract says: ``slot_shrinkage``, ``relevance``, ``prompted``.
        births: For each object the step from which on slots hold a value of it.
        step: Frames offered so far.
        kept: Slots in use for good, of a GrowingMemory.
    """

    tensors: dict[str, np.ndarray]
    births: list[int]
    step: int = 0
    kept: int = 0

    @classmethod
    def empty(cls, about: dict, entry: dict[str, np.ndarray]) -> 'Slots':
        """Empty slots (of a GrowingMemory: none) that an entry fits into.

        Args:
            about: ``memory`` of the contract.
            entry: ``key`` (1, G, P, Ck), ``value`` (1, O, P, Cv), and maybe ``slot_shrinkage`` (1, G, P).
        """
        number, groups = about.get('num_slots', 0), entry['key'].shape[1]
        tensors = {
            name: np.zeros((*new.shape[:2], number, *new.shape[2:]), np.float32)
            for name, new in entry.items()
        }
        stamps = np.full((1, groups, number), -1)
        tensors |= dict(written_at=stamps, read_at=stamps.copy(), hits=np.zeros(stamps.shape, np.float32))
        if about.get('relevance'):
            tensors['relevance'] = np.full(stamps.shape, -1, np.float32)
        if about.get('prompted'):
            tensors['prompted'] = np.zeros(stamps.shape, bool)
        return cls(tensors, [0] * entry['value'].shape[1])

    def add_objects(self, number: int, own_keys: bool) -> None:
        """Objects of which nothing is held."""
        for name, old in self.tensors.items():
            if name == 'value' or own_keys:
                fill = -1 if name in ('written_at', 'read_at', 'relevance') else 0
                new = np.full((1, number, *old.shape[2:]), fill, old.dtype)
                self.tensors[name] = np.concatenate([old, new], 1)
        self.births += [self.step] * number

    def count_usage(self, share: np.ndarray) -> None:
        """A read in which the slots drew ``share`` (1, G, S) of the attention."""
        held = self.tensors
        filled = held['written_at'] >= 0
        used = filled & (share * filled.sum(-1, keepdims=True) > 1 + ROUNDING)
        held['read_at'] = np.where(used, self.step, held['read_at'])
        held['hits'] = held['hits'] + share
        if 'relevance' in held:
            old = held['relevance']
            held['relevance'] = np.where(old < 0, share, RELEVANCE_KEPT * old + (1 - RELEVANCE_KEPT) * share)

    def write(self, entry: dict[str, np.ndarray], slot: np.ndarray, prompted: bool) -> None:
        """Overwrite slot ``slot`` (1, G) of each key group and its objects; S stands for none."""
        held, groups = self.tensors, slot.shape[1]
        stamps = dict(written_at=self.step, read_at=-1, hits=0, relevance=-1, prompted=prompted)
        for group, place in enumerate(slot[0].tolist()):
            if place == held['written_at'].shape[2]:
                continue
            for name in stamps.keys() & held.keys():
                held[name][0, group, place] = stamps[name]
            for name, new in entry.items():
                rows = slice(None) if name == 'value' and groups == 1 else group
                held[name][0, rows, place] = new[0, rows]
        self.step += 1

    def append(self, entry: dict[str, np.ndarray], keep: bool) -> None:
        """The write of a GrowingMemory: behind the slots that are kept; ``keep``: for good."""
        groups = entry['key'].shape[1]
        stamps = np.full((1, groups), self.step)
        new = entry | dict(
            written_at=stamps, read_at=np.full_like(stamps, -1), hits=np.zeros((1, groups), np.float32)
        )
        for name, tensor in new.items():
            parts = [self.tensors[name][:, :, : self.kept], tensor[:, :, None]]
            self.tensors[name] = np.concatenate(parts, 2)
        self.kept += keep
        self.step += 1
