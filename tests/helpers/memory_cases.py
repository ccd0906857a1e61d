"""Small random entries, queries and streams for the tests of the memory."""

import dataclasses
import inspect

import torch

from mmstremn.memory import Entry, Query, SlotState

GRID = (2, 2)
POSITIONS = 4
KEY, VALUE, DECODED = 3, 5, 6
WIDTHS = dict(key_channels=KEY, value_channels=VALUE, decoder_channels=DECODED)


def generator(*seeds: int) -> torch.Generator:
    number = 0
    for seed in seeds:
        number = number * 1009 + seed + 1
    return torch.Generator().manual_seed(number)


def make_entry(
    seed=0, batch=1, objects=1, groups=1, shrinkage=False, prompted=False, dtype=torch.float32
) -> Entry:
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


def on_tensors(data, function):
    """An entry or a query whose tensors are ``function`` of these."""

    def changed(values):
        return {name: function(value) for name, value in values.items() if isinstance(value, torch.Tensor)}

    fields = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    return dataclasses.replace(data, **changed(fields), extras=data.extras | changed(data.extras))


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
    """All but what a selector in training learns from."""
    assert type(first) is type(second)
    for field in dataclasses.fields(first):
        if field.name == 'history' and isinstance(first, SlotState):
            continue
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(
                one, other, rtol=tolerance, atol=tolerance, msg=lambda m, n=field.name: f'{n}: {m}'
            )
        else:
            assert one == other, field.name


def assert_close(one, other, tolerance=1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def widths_of(memory_class) -> dict:
    """The widths of these entries that a constructor names, as the model gives them."""
    return {
        name: width for name, width in WIDTHS.items() if name in inspect.signature(memory_class).parameters
    }


def build_memory(memory_class, **settings):
    """A memory of these entries; its weights are the same every time."""
    torch.manual_seed(0)
    return memory_class(**widths_of(memory_class) | settings).eval()


def clip(length=6, **kwargs):
    """Random entries and queries."""
    batch = kwargs.get('batch', 1)
    return [make_entry(i, **kwargs) for i in range(length)], [make_query(i, batch) for i in range(length)]


def full_clip(length=14, batch=1, objects=1, prompted=(0,), extras=True):
    """Entries and queries with everything that a model gives to any memory.

    Half of the positions stay almost what they were, the others are new in every frame. Sample b and object o
    are the same whatever the batch and however many objects there are.
    """
    first = make_entry(99, batch).key
    entries = [make_entry(i, batch, objects, shrinkage=True, prompted=i in prompted) for i in range(length)]
    for index, entry in enumerate(entries):
        entry.key[:, :, ::2] = first[:, :, ::2] + 0.1 * entry.key[:, :, ::2]
        if extras:
            entry.extras['mask'] = torch.stack(
                [_rows(index, b, objects, 1)[..., 0].sigmoid() for b in range(batch)]
            )
        if extras and index:
            entry.extras['decoded'] = torch.stack([_rows(index, b, objects, DECODED) for b in range(batch)])
    return entries, [make_query(i, batch, selection=True) for i in range(length)]


def _rows(index, sample, objects, channels):
    return torch.randn(objects, POSITIONS, channels, generator=generator(index, sample, channels))


def crop(entries, batch=slice(None), objects=slice(None)) -> list[Entry]:
    """Some samples and objects of entries and of their extras."""
    return [
        dataclasses.replace(
            take(e, batch, objects), extras={n: t[batch, objects] for n, t in e.extras.items()}
        )
        for e in entries
    ]


def rows_of(queries, batch) -> list[Query]:
    """Some samples of queries."""
    return [
        dataclasses.replace(
            q, key=q.key[batch], selection=None if q.selection is None else q.selection[batch]
        )
        for q in queries
    ]


def join(memory, entries, queries, at, past=lambda value: value):
    """The readouts since step ``at``, at which all objects but the first appear, and the state.

    Args:
        past: Changes the first object's values before.
    """
    with torch.no_grad():
        before = [dataclasses.replace(e, value=past(e.value)) for e in crop(entries[:at], objects=slice(1))]
        state, _ = run(memory, before, queries)
        if entries[0].value.shape[1] > 1:
            state = memory.add_objects(state, entries[0].value.shape[1] - 1)
        readouts = []
        for index in range(at, len(entries)):
            if index > at:
                readout, state = memory.read(state, queries[index])
                readouts.append(readout)
            state = memory.write(state, entries[index])
    return torch.stack(readouts), state


def reader_contents(grid, groups=1, slots=3, batch=2):
    """What a reader is given, random: query, key, shrinkage, value and usable slots, one of them not."""
    g, positions = generator(0), grid[0] * grid[1]
    key = torch.randn(batch, groups, slots, positions, 3, generator=g)
    shrinkage = 1 + torch.rand(batch, groups, slots, positions, generator=g)
    value = torch.randn(batch, groups, slots, positions, 5, generator=g)
    query = Query(
        torch.randn(batch, positions, 3, generator=g), torch.rand(batch, positions, 3, generator=g)
    ).on(grid)
    usable = torch.tensor([[True, False, True], [True, True, True]])[:, None, :slots].expand(-1, groups, -1)
    return query, key, shrinkage, value, usable
