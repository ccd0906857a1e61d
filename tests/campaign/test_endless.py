"""Every registered memory over 100,000 frames: bytes, process memory, finite numbers, and a fork in the
middle.

A frame is 4 positions, so that a memory's own work is measured. What grows by design (STM, STCN) grows
linearly.
"""

import os
import time
from pathlib import Path

import pytest
import torch
from helpers.memory_cases import assert_equal_states, build_memory, make_entry, make_query

from mmstremn.memory import GATES, MEMORIES, SELECTORS, GrowingMemory, SlotMemory

PERIOD = 53  # different frames
PAGE = os.sysconf('SC_PAGE_SIZE')
CASES = {cls.__name__: lambda cls=cls: build_memory(cls) for cls in MEMORIES}
CASES |= {cls.__name__: lambda cls=cls: SlotMemory(3, build_memory(cls)).eval() for cls in SELECTORS}
CASES['every gate'] = lambda: SlotMemory(
    3, gates=[cls() for cls in GATES], key_channels=3, value_channels=5
).eval()


def entries_and_queries():
    """Frames with everything that a model gives to any memory."""
    entries = [make_entry(index, objects=2, shrinkage=True) for index in range(PERIOD)]
    for index, entry in enumerate(entries):
        generator = torch.Generator().manual_seed(index)
        entry.extras['mask'] = torch.rand(1, 2, 4, generator=generator)
        entry.extras['decoded'] = torch.randn(1, 2, 4, 6, generator=generator)
        entry.extras['presence'] = torch.rand(1, 2, generator=generator)
    return entries, [make_query(index, selection=True) for index in range(PERIOD)]


def process_bytes() -> int:
    """Resident memory of this process."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * PAGE


def go_on(memory, state, frames, data):
    """The state after ``frames`` (a range), and the last readout; every readout is finite."""
    entries, queries = data
    for index in frames:
        readout, state = memory.read(state, queries[index % PERIOD])
        assert bool(readout.isfinite().all()), index
        if memory.wants(state):
            state = memory.write(state, entries[(7 * index) % PERIOD])
        else:
            state = memory.pass_over(state, entries[index % PERIOD].extras['decoded'])
    return state, readout


@torch.no_grad()
@pytest.mark.parametrize('name', CASES)
def test_a_stream_of_any_length(name, size, record_property):
    memory, data, frames = CASES[name](), entries_and_queries(), size(600, 100_000)
    settled = 400 if size(0, 1) == 0 else 20_000
    state = memory.init(data[0][0], seeds=(0,))
    state = memory.write(state, data[0][0])
    state, _ = go_on(memory, state, range(1, settled), data)
    early_bytes, early_process = state.nbytes, process_bytes()
    begin = time.perf_counter()
    middle = (settled + frames) // 2
    state, _ = go_on(memory, state, range(settled, middle), data)
    fork = state.clone()
    state, last = go_on(memory, state, range(middle, frames), data)
    seconds = time.perf_counter() - begin
    again, same = go_on(memory, fork, range(middle, frames), data)
    assert torch.equal(last, same)
    assert_equal_states(state, again)
    if not isinstance(memory, GrowingMemory):
        assert state.nbytes == early_bytes
        assert process_bytes() < 1.05 * early_process
    record_property('frames', frames)
    record_property('bytes', state.nbytes)
    record_property('ms a frame', round(1000 * seconds / (frames - settled), 4))
