"""Streams of a memory alone, without a model, of any length: what grows, and does a saved state go on equal?

    PYTHONPATH=. python tests/helpers/endless.py 20000 results/logs/endless.json [name ...]

A frame is 4 positions of random keys and values from a pool, so that the memory's own work is all there is.
"""

import ctypes
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from helpers.memory_cases import assert_equal_states, build_memory, make_entry, make_query
from mmstremn.memory import (
    GATES,
    MEMORIES,
    SELECTORS,
    FIFOSelector,
    GrowingMemory,
    Memory,
    MemoryState,
    SlotMemory,
)
from mmstremn.models.stream_files import SavedStream, describe_memory, read_stream, write_stream

POOL = 53  # different frames; 7 is prime to it: an entry and a query of a frame are not always the same two
QUARTERS, BLOCKS = 4, 10  # parts of a stream, and measurements in each
AFTER_RESUME = 1000  # frames from the saved state on; where the states are equal then, they stay equal
GROWING_FRAMES = 2000  # for what grows with every frame
PAGE = os.sysconf('SC_PAGE_SIZE')
CASES = {cls.__name__: lambda cls=cls: build_memory(cls) for cls in MEMORIES}
CASES |= {cls.__name__: lambda cls=cls: SlotMemory(3, build_memory(cls)).eval() for cls in SELECTORS}
CASES |= {
    f'{cls.__name__} (gate)': lambda cls=cls: SlotMemory(
        3, FIFOSelector(), gates=[cls()], key_channels=3, value_channels=5
    ).eval()
    for cls in GATES
}


def pool():
    """Frames with everything that a model gives to any memory: entries and queries."""
    entries = [make_entry(index, objects=2, shrinkage=True) for index in range(POOL)]
    for index, entry in enumerate(entries):
        generator = torch.Generator().manual_seed(index)
        entry.extras['mask'] = torch.rand(1, 2, 4, generator=generator)
        entry.extras['decoded'] = torch.randn(1, 2, 4, 6, generator=generator)
        entry.extras['presence'] = torch.rand(1, 2, generator=generator)
    return entries, [make_query(index, selection=True) for index in range(POOL)]


def process_bytes() -> int:
    """Resident memory of this process, after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path('/proc/self/statm').read_text().split()[1]) * PAGE


def go_on(memory: Memory, state: MemoryState, frames: range, data):
    """The state after ``frames``, and the last readout; every readout is finite."""
    entries, queries = data
    for index in frames:
        readout, state = memory.read(state, queries[index % POOL])
        assert bool(readout.isfinite().all()), index
        if memory.wants(state):
            state = memory.write(state, entries[(7 * index) % POOL])
        else:
            state = memory.pass_over(state, entries[index % POOL].extras['decoded'])
    return state, readout


def saved_and_loaded(memory: Memory, state: MemoryState) -> MemoryState:
    """The state through a file of a stream."""
    with tempfile.TemporaryDirectory() as folder:
        path, kind = str(Path(folder) / 'a.safetensors'), dict(options=describe_memory(memory))
        write_stream(path, 'endless', kind, SavedStream(dict(state=state.plain()), state.tensors()))
        saved = read_stream(path, 'endless', kind, torch.device('cpu'))
    plain = {
        name: tuple(v) if isinstance(v, list) else v
        for name, v in saved.about['state'].items()
        if name not in saved.tensors
    }
    return memory.state_class(**plain, **saved.tensors)


@torch.no_grad()
def endless(memory: Memory, frames: int) -> dict:
    """What a stream of so many frames does; a part of it is resumed from a file in the middle.

    Returns:
        ``state_bytes``: the smallest and largest state after the first tenth of the stream;
        ``process_growth``: last quarter / first quarter - 1, of the medians of the process's bytes;
        ``ms``: medians of CPU milliseconds a frame in the first and the last quarter;
        ``resumed_equal``: the state and the readout after 1,000 more frames are equal bit for bit.
    """
    data = pool()
    state = memory.write(memory.init(data[0][0], seeds=(0,)), data[0][0])
    blocks = QUARTERS * BLOCKS
    edges = [1 + frames * block // blocks for block in range(blocks + 1)]
    sizes, process, times, middle = [], [], [], blocks // 2
    gc.freeze()  # so that the collections of process_bytes look at new objects alone
    for block in range(blocks):
        if block == middle:
            after = range(edges[block], min(edges[block] + AFTER_RESUME, edges[-1]))
            resumed, readout = go_on(memory, saved_and_loaded(memory, state), after, data)
            other, expected = go_on(memory, state.clone(), after, data)
            equal = torch.equal(readout, expected)
            assert_equal_states(resumed, other)
        begin = time.process_time()
        state, _ = go_on(memory, state, range(edges[block], edges[block + 1]), data)
        times.append(1000 * (time.process_time() - begin) / (edges[block + 1] - edges[block]))
        process.append(process_bytes())
        if block >= blocks // 10:
            sizes.append(state.nbytes)
    gc.unfreeze()
    first, last = statistics.median(process[:BLOCKS]), statistics.median(process[-BLOCKS:])
    return dict(
        frames=frames,
        bounded=not isinstance(memory, GrowingMemory),
        state_bytes=[min(sizes), max(sizes)],
        process_growth=round(last / first - 1, 5),
        process_growth_kib=round((last - first) / 1024, 1),
        ms=[round(statistics.median(part), 4) for part in (times[:BLOCKS], times[-BLOCKS:])],
        resumed_equal=equal,
    )


def main(frames: str, out: str, *names: str) -> None:
    """Run the streams, and write the file after each: lines of it that are there already are kept."""
    torch.set_num_threads(1)
    path = Path(out)
    record = json.loads(path.read_text()) if path.exists() else dict(streams={})
    record.update(
        command='PYTHONPATH=. python tests/helpers/endless.py FRAMES results/logs/endless.json [NAME ...]',
        torch=torch.__version__,
        python=platform.python_version(),
    )
    for name in names or CASES:
        memory = CASES[name]()
        number = min(int(frames), GROWING_FRAMES) if isinstance(memory, GrowingMemory) else int(frames)
        record['streams'][name] = endless(memory, number)
        print(name, record['streams'][name], flush=True)
        path.write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
