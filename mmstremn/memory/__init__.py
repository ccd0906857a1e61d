"""The memory of a video model: small modules that need torch and nothing else.

A memory holds weights; what it remembers is a state that is passed in and returned::

    state = memory.init(entry)
    state = memory.write(state, entry)
    readout, state = memory.read(state, query)
"""

import torch

from mmstremn.memory.affinity import AnisotropicL2Affinity, CosineAffinity, DotAffinity, L2Affinity
from mmstremn.memory.base import Memory
from mmstremn.memory.gates import EmptyFirst, EveryN, KeepFirst, MinNovelty, Skip
from mmstremn.memory.growing import GrowingMemory, GrowingState
from mmstremn.memory.gumbel import GumbelSelector, gumbel_softmax
from mmstremn.memory.readers import DenseReader, TopKReader
from mmstremn.memory.selectors import (
    FIFOSelector,
    LFUSelector,
    LIFOSelector,
    LRUSelector,
    MostSimilarSelector,
    RandomSelector,
    Selector,
)
from mmstremn.memory.slot_memory import SlotMemory
from mmstremn.memory.state import Entry, MemoryState, Query, SlotState

AFFINITIES = (DotAffinity, CosineAffinity, L2Affinity, AnisotropicL2Affinity)
READERS = (DenseReader, TopKReader)
SELECTORS = (
    GumbelSelector,
    FIFOSelector,
    LIFOSelector,
    RandomSelector,
    LRUSelector,
    LFUSelector,
    MostSimilarSelector,
)
GATES = (EmptyFirst, KeepFirst, EveryN, MinNovelty, Skip)
MEMORIES = (SlotMemory, GrowingMemory)

for _data in (Query, Entry, SlotState, GrowingState):  # pytrees: torch.export and tree_map see their tensors
    torch.export.register_dataclass(_data)

__all__ = [
    'AFFINITIES',
    'GATES',
    'MEMORIES',
    'READERS',
    'SELECTORS',
    'AnisotropicL2Affinity',
    'CosineAffinity',
    'DenseReader',
    'DotAffinity',
    'EmptyFirst',
    'Entry',
    'EveryN',
    'FIFOSelector',
    'GrowingMemory',
    'GrowingState',
    'GumbelSelector',
    'KeepFirst',
    'L2Affinity',
    'LFUSelector',
    'LIFOSelector',
    'LRUSelector',
    'Memory',
    'MemoryState',
    'MinNovelty',
    'MostSimilarSelector',
    'Query',
    'RandomSelector',
    'Selector',
    'Skip',
    'SlotMemory',
    'SlotState',
    'TopKReader',
    'gumbel_softmax',
]
