"""The memory of a video model: small modules that need torch and nothing else.

A memory holds weights; what it remembers is a state that is passed in and returned::

    state = memory.init(entry)
    state = memory.write(state, entry)
    readout, state = memory.read(state, query)
"""

import torch

from mmstremn.memory.affinity import Affinity, AnisotropicL2Affinity, CosineAffinity, DotAffinity, L2Affinity
from mmstremn.memory.base import Memory
from mmstremn.memory.published.afb_urr import MergingMemory
from mmstremn.memory.published.blended import BlendedMemory
from mmstremn.memory.published.compressive_transformer import CompressiveMemory
from mmstremn.memory.published.cutie import CutieMemory, ObjectMemory, SensoryMemory
from mmstremn.memory.published.egm import GraphMemory
from mmstremn.memory.published.global_context import GlobalContextMemory
from mmstremn.memory.published.livos import GatedLinearMemory
from mmstremn.memory.published.mart import GatedSlotMemory
from mmstremn.memory.published.ntm import NTMMemory
from mmstremn.memory.published.rde import RecurrentEmbeddingMemory
from mmstremn.memory.published.sam2 import RecentPromptedMemory
from mmstremn.memory.published.stm_stcn import GrowingMemory, GrowingState
from mmstremn.memory.published.xmem import TwoLevelMemory
from mmstremn.memory.readers import DenseReader, KernelizedReader, LocalWindowReader, TopKReader
from mmstremn.memory.recurrent.beside_slots import RecurrentSlotMemory
from mmstremn.memory.recurrent.convlstm import ConvLSTMMemory
from mmstremn.memory.recurrent.e3d_lstm import E3DLSTMMemory
from mmstremn.memory.recurrent.predrnn import STLSTMMemory
from mmstremn.memory.slots.align import DeformableAlign
from mmstremn.memory.slots.diversity import DiversitySelector
from mmstremn.memory.slots.feature_selector import FeatureSelector
from mmstremn.memory.slots.fusion import SlotFusion
from mmstremn.memory.slots.gates import (
    EmptyFirst,
    EveryN,
    Gate,
    KeepFirst,
    KeepPrompted,
    MinConfidence,
    MinNovelty,
    MinPresence,
    Skip,
)
from mmstremn.memory.slots.gumbel import GumbelSelector, gumbel_softmax
from mmstremn.memory.slots.selectors import (
    FIFOSelector,
    LFUSelector,
    LIFOSelector,
    LogarithmicSelector,
    LRUSelector,
    MostSimilarSelector,
    RandomSelector,
    ReservoirSelector,
    Selector,
    UCBSelector,
)
from mmstremn.memory.slots.slot_memory import SlotMemory
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, MemoryState, Query

AFFINITIES = (DotAffinity, CosineAffinity, L2Affinity, AnisotropicL2Affinity)
READERS = (DenseReader, TopKReader, KernelizedReader, LocalWindowReader)
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
    ReservoirSelector,
    LogarithmicSelector,
    FeatureSelector,
)
GATES = (EmptyFirst, KeepFirst, KeepPrompted, EveryN, MinNovelty, MinPresence, MinConfidence, Skip)
SLOT_OPTIONS = (DeformableAlign, SlotFusion)
CUTIE_PARTS = (SensoryMemory, ObjectMemory)
MEMORIES = (
    SlotMemory,
    GrowingMemory,
    TwoLevelMemory,
    CutieMemory,
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
    RecurrentSlotMemory,
)

for _data in (
    Query,
    Entry,
    *{memory.state_class for memory in MEMORIES},
):  # pytrees: torch.export, tree_map see tensors
    torch.export.register_dataclass(_data)

__all__ = [
    'AFFINITIES',
    'CUTIE_PARTS',
    'GATES',
    'MEMORIES',
    'READERS',
    'SELECTORS',
    'SLOT_OPTIONS',
    'Affinity',
    'AnisotropicL2Affinity',
    'BlendedMemory',
    'CompressiveMemory',
    'ConvLSTMMemory',
    'CosineAffinity',
    'CutieMemory',
    'DeformableAlign',
    'DenseReader',
    'DiversitySelector',
    'DotAffinity',
    'E3DLSTMMemory',
    'EmptyFirst',
    'Entry',
    'EveryN',
    'FIFOSelector',
    'FeatureSelector',
    'Gate',
    'GatedLinearMemory',
    'GatedSlotMemory',
    'GlobalContextMemory',
    'GraphMemory',
    'GrowingMemory',
    'GrowingState',
    'GumbelSelector',
    'KeepFirst',
    'KeepPrompted',
    'KernelizedReader',
    'L2Affinity',
    'LFUSelector',
    'LIFOSelector',
    'LRUSelector',
    'LocalWindowReader',
    'LogarithmicSelector',
    'Memory',
    'MemoryState',
    'MergingMemory',
    'MinConfidence',
    'MinNovelty',
    'MinPresence',
    'MostSimilarSelector',
    'NTMMemory',
    'ObjectMemory',
    'Query',
    'RandomSelector',
    'RecentPromptedMemory',
    'RecurrentEmbeddingMemory',
    'RecurrentSlotMemory',
    'ReservoirSelector',
    'STLSTMMemory',
    'Selector',
    'SensoryMemory',
    'Skip',
    'SlotFusion',
    'SlotMemory',
    'SlotState',
    'TopKReader',
    'TwoLevelMemory',
    'UCBSelector',
    'gumbel_softmax',
]
