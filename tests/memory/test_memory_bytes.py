"""The bytes that docs/memories.md states are those of the states, and it has a row for everything that there
is."""

import math
import re

import pytest
import torch
from helpers.memory_cases import KEY, VALUE, build_memory
from helpers.runs import ROOT

from mmstremn.memory import (
    MEMORIES,
    SELECTORS,
    ConvLSTMMemory,
    Entry,
    ObjectMemory,
    SensoryMemory,
    STLSTMMemory,
    UCBSelector,
)
from mmstremn.memory.published.dam4sam import DAM4SAM, StridedSelector
from mmstremn.memory.published.sam2long import SAM2Long
from mmstremn.memory.published.samurai import SAMURAI, SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory

PAGE, DIFFERENCES = (ROOT / 'docs/memories.md').read_text().split('## What differs')
LINES = [line.strip('|').split('|') for line in PAGE.splitlines() if re.match(r'\| `[A-Z]', line)]
ROWS = {row[0].strip(' `'): row for row in LINES}
BYTES = 3  # column
OF_TRACKERS = (
    TrackerMemory,
    DAM4SAM,
    SAM2Long,
    SAMURAI,
    SAMURAISelector,
    StridedSelector,
)  # read by the attention of a tracker
LETTERS = dict(
    S='num_slots',
    T='max_frames',
    R='num_pointers',
    M='num_compressed',
    L='layers',
    N='history',
    Ch='hidden_channels',
)
LETTERS_OF = {  # where a letter stands for another argument
    'TwoLevelMemory': dict(L='capacity', Ch='sensory_channels'),
    'GraphMemory': dict(S='num_nodes'),
}
SETTINGS = {
    'SlotMemory': [dict(num_slots=2), dict(num_slots=5, per_object_key=True)],
    'GrowingMemory': [dict(every=1), dict(every=2, keep_last=True, per_object_key=True)],
    'TwoLevelMemory': [
        dict(max_frames=6, capacity=200, sensory_channels=4),
        dict(max_frames=8, capacity=300, sensory_channels=7),
    ],
    'CutieMemory': [
        dict(sensory_memory=SensoryMemory(3, VALUE, 6), object_memory=ObjectMemory(2, 4, VALUE)),
        dict(sensory_memory=SensoryMemory(5, VALUE, 6), object_memory=ObjectMemory(6, 8, VALUE)),
    ],
    'RecentPromptedMemory': [
        dict(num_recent=2, num_prompted=1, num_pointers=3),
        dict(num_recent=4, num_prompted=3, num_pointers=9),
    ],
    'GraphMemory': [dict(num_nodes=3), dict(num_nodes=5)],
    'MergingMemory': [dict(capacity=2), dict(capacity=3)],
    'CompressiveMemory': [dict(num_slots=2, num_compressed=3), dict(num_slots=3, num_compressed=5)],
    'GatedSlotMemory': [dict(num_slots=2), dict(num_slots=3)],
    'NTMMemory': [dict(num_slots=2), dict(num_slots=3)],
    'ConvLSTMMemory': [
        dict(layers=1, hidden_channels=4, kernel=3),
        dict(layers=3, hidden_channels=5, kernel=3),
    ],
    'STLSTMMemory': [
        dict(layers=1, hidden_channels=4, kernel=3),
        dict(layers=3, hidden_channels=5, kernel=3),
    ],
    'E3DLSTMMemory': [
        dict(layers=1, hidden_channels=4, kernel=3, history=2),
        dict(layers=3, hidden_channels=5, kernel=3, history=4),
    ],
    'RecurrentSlotMemory': [
        dict(recurrent=ConvLSTMMemory(KEY, VALUE, 4, 3, layers=3)),
        dict(recurrent=STLSTMMemory(KEY, VALUE, 5, 3, layers=2)),
    ],
}
SIZES = [((2, 2), 1, 1), ((3, 5), 2, 2)]  # grid, batch, objects at first


def make(memory, grid, batch, objects) -> Entry:
    positions, groups = grid[0] * grid[1], objects if memory.per_object_key else 1
    shrinkage = torch.ones(batch, groups, positions) if memory.needs_selection else None
    key, value = torch.randn(batch, groups, positions, KEY), torch.randn(batch, objects, positions, VALUE)
    return Entry(key, value, grid, shrinkage)


@torch.no_grad()
def state_of(memory, grid, batch, objects):
    """After five frames, at the third of which an object more appears."""
    state = memory.init(make(memory, grid, batch, objects))
    for index in range(5):
        if index == 2:
            state, objects = memory.add_objects(state, 1), objects + 1
        state = memory.write(state, make(memory, grid, batch, objects))
    return state


def stated_bytes(name, settings, memory, state, batch) -> int:
    """The expression of the page, evaluated."""
    (h, w), objects = state.grid, len(state.births)
    letters = dict(
        B=batch, O=objects, G=objects if memory.per_object_key else 1, P=h * w, h=h, w=w, Ck=KEY, Cv=VALUE
    )
    letters['K'] = len(set(state.births))
    arguments = LETTERS | LETTERS_OF.get(name, {})
    letters |= {letter: settings[argument] for letter, argument in arguments.items() if argument in settings}
    if name == 'GrowingMemory':
        letters['T'] = state.in_use
    if name == 'RecentPromptedMemory':
        letters['S'] = settings['num_recent'] + settings['num_prompted']
    if name == 'CutieMemory':
        pixels = memory.pixel_memory
        letters |= dict(I=state_of(pixels, state.grid, batch, objects - 1).nbytes)
        letters |= dict(Ch=memory.sensory_memory.channels, N=memory.object_memory.num_summaries)
        letters |= dict(C=memory.object_memory.channels)
    if name == 'RecurrentSlotMemory':
        parts = memory.slots, memory.recurrent
        letters |= {
            letter: state_of(part, state.grid, batch, objects - 1).nbytes
            for letter, part in zip('IJ', parts, strict=True)
        }
    if name == 'MergingMemory':
        letters['N'] = settings['capacity'] * h * w
    expression = re.search('`(.+?)`', ROWS[name][BYTES])[1]
    return eval(expression, dict(ceil=math.ceil, log2=math.log2, **letters))


@pytest.mark.parametrize('size', range(2))
@pytest.mark.parametrize('memory_class', MEMORIES)
def test_bytes_are_as_stated(memory_class, size):
    name = memory_class.__name__
    assert name in ROWS, f'docs/memories.md has no row for {name}'
    settings, (grid, batch, objects) = SETTINGS.get(name, [{}, {}])[size], SIZES[size]
    memory = build_memory(memory_class, **settings)
    state = state_of(memory, grid, batch, objects)
    assert stated_bytes(name, settings, memory, state, batch) == state.nbytes


def test_what_the_ucb_selector_and_shrinkage_add():
    memory_class = MEMORIES[0]
    plain, ucb = (build_memory(memory_class, num_slots=3, selector=s) for s in (None, UCBSelector()))
    sizes = [state_of(memory, (2, 2), 2, 1).nbytes for memory in (plain, ucb)]
    assert '`4*B*G*S` more with `UCBSelector`, `4*B*G*S*P` with shrinkage' in ROWS['SlotMemory'][BYTES]
    assert sizes[1] - sizes[0] == 4 * 2 * 1 * 3
    plain.reader.affinity.needs_selection = True
    assert state_of(plain, (2, 2), 2, 1).nbytes - sizes[0] == 4 * 2 * 1 * 3 * 4


def test_bytes_of_a_tracker_are_as_stated():
    value = torch.randn(1, 2, 4, VALUE, dtype=torch.bfloat16)
    extras = dict(pointer=torch.randn(1, 2, 8), iou=torch.ones(1, 2), score=torch.ones(1, 2))
    entry = Entry(value.new_zeros(1, 2, 1, 1), value, (2, 2), extras=extras)  # the key of key='none'
    state = TrackerMemory(num_slots=6, num_prompted=3, num_pointers=5).init(entry)
    expression = re.search('`(.+?)`', ROWS['TrackerMemory'][BYTES])[1]
    assert state.nbytes == eval(expression, dict(O=2, S=9, P=4, Cv=VALUE, C=8, R=5))


def test_every_memory_and_selector_has_one_row_and_no_other_has():
    assert {*ROWS} == {c.__name__ for c in (*MEMORIES, *SELECTORS, *OF_TRACKERS)}
    assert len(LINES) == len(ROWS)


def test_the_page_says_of_every_memory_what_differs_from_its_paper():
    assert not [cls.__name__ for cls in MEMORIES if f'`{cls.__name__}' not in DIFFERENCES]
