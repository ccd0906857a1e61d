"""The memory of a video model: small modules that need torch and nothing else.

A memory holds weights; what it remembers is a state that is passed in and returned::

    state = memory.init(entry)
    state = memory.write(state, entry)
    readout, state = memory.read(state, query)
"""

import torch

from mmstremn.memory.affinity import AnisotropicL2Affinity, CosineAffinity, DotAffinity, L2Affinity
from mmstremn.memory.align import DeformableAlign
from mmstremn.memory.base import Memory
from mmstremn.memory.blended import BlendedMemory
from mmstremn.memory.compressive import CompressiveMemory
from mmstremn.memory.diversity import DiversitySelector
from mmstremn.memory.fusion import SlotFusion
from mmstremn.memory.gated_linear import GatedLinearMemory
from mmstremn.memory.gated_slots import GatedSlotMemory
from mmstremn.memory.gates import EmptyFirst, EveryN, KeepFirst, MinNovelty, Skip
from mmstremn.memory.global_context import GlobalContextMemory
from mmstremn.memory.graph import GraphMemory
from mmstremn.memory.growing import GrowingMemory, GrowingState
from mmstremn.memory.gumbel import GumbelSelector, gumbel_softmax
from mmstremn.memory.local_reader import LocalWindowReader
from mmstremn.memory.merging import MergingMemory
from mmstremn.memory.ntm import NTMMemory
from mmstremn.memory.readers import DenseReader, TopKReader
from mmstremn.memory.recent_prompted import RecentPromptedMemory
from mmstremn.memory.recurrent_embedding import RecurrentEmbeddingMemory
from mmstremn.memory.recurrent_memory import ConvLSTMMemory, E3DLSTMMemory, STLSTMMemory
from mmstremn.memory.selectors import (
    FIFOSelector,
    LFUSelector,
    LIFOSelector,
    LRUSelector,
    MostSimilarSelector,
    RandomSelector,
    Selector,
    UCBSelector,
)
from mmstremn.memory.slot_memory import SlotMemory
from mmstremn.memory.state import Entry, MemoryState, Query, SlotState
from mmstremn.memory.two_level import TwoLevelMemory

AFFINITIES = (DotAffinity, CosineAffinity, L2Affinity, AnisotropicL2Affinity)
READERS = (DenseReader, TopKReader, LocalWindowReader)
SELECTORS = (
    GumbelSelector,
    FIFOSelector,
    LIFOSelector,
    RandomSelector,
    LRUSelector,
    LFUSelector,
    MostSimilarSelector,
    DiversitySelector,
    UCBSelector,
)
GATES = (EmptyFirst, KeepFirst, EveryN, MinNovelty, Skip)
SLOT_OPTIONS = (DeformableAlign, SlotFusion)
MEMORIES = (
    SlotMemory,
    GrowingMemory,
    TwoLevelMemory,
    RecentPromptedMemory,
    GlobalContextMemory,
    GatedLinearMemory,
    GraphMemory,
    MergingMemory,
    CompressiveMemory,
    GatedSlotMemory,
    NTMMemory,
    BlendedMemory,
    RecurrentEmbeddingMemory,
    ConvLSTMMemory,
    STLSTMMemory,
    E3DLSTMMemory,
)

for _data in (Query, Entry, *{memory.state_class for memory in MEMORIES}):  # pytrees: torch.export, tree_map see tensors
    torch.export.register_dataclass(_data)

__all__ = [
    'AFFINITIES',
    'GATES',
    'MEMORIES',
    'READERS',
    'SELECTORS',
    'SLOT_OPTIONS',
    'AnisotropicL2Affinity',
    'BlendedMemory',
    'CompressiveMemory',
    'ConvLSTMMemory',
    'CosineAffinity',
    'DeformableAlign',
    'DenseReader',
    'DiversitySelector',
    'DotAffinity',
    'E3DLSTMMemory',
    'EmptyFirst',
    'Entry',
    'EveryN',
    'FIFOSelector',
    'GatedLinearMemory',
    'GatedSlotMemory',
    'GlobalContextMemory',
    'GraphMemory',
    'GrowingMemory',
    'GrowingState',
    'GumbelSelector',
    'KeepFirst',
    'L2Affinity',
    'LFUSelector',
    'LIFOSelector',
    'LRUSelector',
    'LocalWindowReader',
    'Memory',
    'MemoryState',
    'MergingMemory',
    'MinNovelty',
    'MostSimilarSelector',
    'NTMMemory',
    'Query',
    'RandomSelector',
    'RecentPromptedMemory',
    'RecurrentEmbeddingMemory',
    'STLSTMMemory',
    'Selector',
    'Skip',
    'SlotFusion',
    'SlotMemory',
    'SlotState',
    'TopKReader',
    'TwoLevelMemory',
    'UCBSelector',
    'gumbel_softmax',
]
