"""Small random entries, queries and streams for the tests of the memory."""

import dataclasses

import torch

from mmstremn.memory import Entry, Query

GRID = (2, 2)
POSITIONS = 4
KEY, VALUE = 3, 5


def generator(*seeds: int) -> torch.Generator:
    number = 0
    for seed in seeds:
        number = number * 1009 + seed + 1
    return torch.Generator().manual_seed(number)


def make_entry(seed=0, batch=1, objects=1, groups=1, shrinkage=False, prompted=False, dtype=torch.float32) -> Entry:
    """A random entry; sample b of a batch is the same as that of any other batch with this seed."""
    keys, values, shrinks = [], [], []
    for sample in range(batch):
        g = generator(seed, sample)
        keys.append(torch.randn(groups, POSITIONS, KEY, generator=g))
        shrinks.append(1 + torch.rand(groups, POSITIONS, generator=g))
        values.append(torch.randn(objects, POSITIONS, VALUE, generator=g))
    return Entry(
        torch.stack(keys).to(dtype),
        torch.stack(values).to(dtype),
        GRID,
        torch.stack(shrinks).to(dtype) if shrinkage else None,
        prompted,
    )


def make_query(seed=0, batch=1, selection=False, dtype=torch.float32) -> Query:
    g = generator(seed, 77)
    key = torch.randn(batch, POSITIONS, KEY, generator=g).to(dtype)
    return Query(key, torch.rand(batch, POSITIONS, KEY, generator=g).to(dtype) if selection else None)


def take(entry: Entry, batch=slice(None), objects=slice(None)) -> Entry:
    """Some samples and objects of an entry."""
    per_object = entry.key.shape[1] > 1
    groups = objects if per_object else slice(None)
    return dataclasses.replace(
        entry,
        key=entry.key[batch, groups],
        value=entry.value[batch, objects],
        shrinkage=None if entry.shrinkage is None else entry.shrinkage[batch, groups],
    )


def run(memory, entries, queries=None, seeds=None):
    """The state after a stream: read (from the second frame on) and write, and the readouts."""
    state, readouts = memory.init(entries[0], seeds), []
    for index, entry in enumerate(entries):
        if queries is not None and index:
            readout, state = memory.read(state, queries[index])
            readouts.append(readout)
        state = memory.write(state, entry)
    return state, readouts


def assert_equal_states(first, second, tolerance=0.0) -> None:
    assert type(first) is type(second)
    for field in dataclasses.fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, msg=lambda m, n=field.name: f'{n}: {m}')
        else:
            assert one == other, field.name
