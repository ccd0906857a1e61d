"""Every memory of bounded size, with settings for the streams of ``memory_cases``."""

from helpers.memory_cases import KEY, VALUE
from mmstremn.memory import (
    MEMORIES,
    ConvLSTMMemory,
    DotAffinity,
    MostSimilarSelector,
    SlotMemory,
    STLSTMMemory,
    TwoLevelMemory,
)

# Small enough to fill and to overflow within a clip; a memory that is not named has its defaults.
SMALL_RECURRENT = dict(hidden_channels=4, kernel=3, layers=2)
SMALL_TWO_LEVEL = dict(min_frames=2, max_frames=4, every=1, num_prototypes=3, capacity=7, sensory_channels=4)
WIDTHLESS = dict(sensory_channels=0, value_channels=VALUE)
SETTINGS = {
    'SlotMemory': [dict(num_slots=4, selector=MostSimilarSelector())],
    'TwoLevelMemory': [SMALL_TWO_LEVEL | dict(k=10**6), SMALL_TWO_LEVEL | dict(k=5)],
    'CutieMemory': [dict(pixel_memory=TwoLevelMemory(**(SMALL_TWO_LEVEL | WIDTHLESS), k=10**6))],
    'RecentPromptedMemory': [dict(num_recent=3, num_prompted=2, num_pointers=4)],
    'GraphMemory': [dict(num_nodes=6, steps=3), dict(num_nodes=4, steps=1)],
    'MergingMemory': [
        dict(capacity=2),
        dict(capacity=2, novel_share=0.5),
        dict(capacity=2, affinity=DotAffinity()),
    ],
    'CompressiveMemory': [dict(), dict(num_slots=2, num_compressed=3)],
    'BlendedMemory': [dict(), dict(momentum=0.8)],
    'RecurrentEmbeddingMemory': [dict(every=1), dict(every=3)],
    'ConvLSTMMemory': [SMALL_RECURRENT],
    'STLSTMMemory': [SMALL_RECURRENT],
    'E3DLSTMMemory': [SMALL_RECURRENT | dict(history=3)],
    'RecurrentSlotMemory': [
        dict(slots=SlotMemory(4, MostSimilarSelector()), recurrent=cells(KEY, VALUE, 4, 3, 1))
        for cells in (ConvLSTMMemory, STLSTMMemory)
    ],
}
BOUNDED = [(c, settings) for c in MEMORIES if c.bounded for settings in SETTINGS.get(c.__name__, [{}])]


def name_of(value) -> str | None:
    """How a test of a memory or of settings is called."""
    return getattr(value, '__name__', None) or ' '.join(
        f'{k}={v}' for k, v in value.items() if isinstance(v, (int, float))
    )
