"""The recurrent embedding: its aggregation, its rhythm, the first frame that stays."""

import pytest
import torch
from helpers.memory_cases import GRID, KEY, POSITIONS, VALUE, assert_close, clip, make_entry, make_query, run

from mmstremn.memory import TopKReader
from mmstremn.memory.published.rde import EMBEDDING, FIRST, RecurrentEmbeddingMemory


def build(every=1) -> RecurrentEmbeddingMemory:
    torch.manual_seed(0)
    return RecurrentEmbeddingMemory(every, KEY, VALUE).eval()


def test_aggregation_formula():
    """Attention of the new positions over both maps, residual, gate: position by position in float64."""
    memory = build()
    aggregation = memory.aggregation.double()
    torch.manual_seed(1)
    old, new = torch.randn(2, POSITIONS, KEY).double(), torch.randn(2, POSITIONS, VALUE).double()
    (old_key, new_key), (old_value, new_value) = old, new
    with torch.no_grad():
        both_keys = torch.cat([old_key, new_key])
        attention = []
        for p in range(POSITIONS):
            scores = [
                aggregation.asking(new_key[p]) @ aggregation.asked(k) / (KEY // 2) ** 0.5 for k in both_keys
            ]
            attention.append(torch.stack(scores).softmax(0))
        attention, expected = torch.stack(attention), []
        for blend, before, after in (
            (aggregation.blend_key, old_key, new_key),
            (aggregation.blend_value, old_value, new_value),
        ):
            attended = torch.stack(
                [after[p] + blend.mix(attention[p] @ torch.cat([before, after])) for p in range(POSITIONS)]
            )
            planes = torch.cat([before, attended], 1).T.reshape(1, -1, *GRID)
            gate = blend.gate(planes).sigmoid()[0].reshape(-1, POSITIONS).T
            expected.append((1 - gate) * before + gate * attended)
        memory = build()
        batched = [t.float()[None, None] for t in (old_key, old_value, new_key, new_value)]
        key, value = memory.aggregation((batched[0], batched[1]), (batched[2], batched[3]), GRID)
    assert_close(key[0, 0].double(), expected[0])
    assert_close(value[0, 0].double(), expected[1])


def embedded(memory, length):
    """The frames at which the embedding changed."""
    changed, previous = [], None
    with torch.no_grad():
        state = memory.init(make_entry())
        for index in range(length):
            state = memory.write(state, make_entry(index))
            now = state.value[:, :, EMBEDDING].clone()
            if previous is None or not torch.equal(now, previous):
                changed.append(index)
            previous = now
    return changed


def test_every_third_frame_is_aggregated():
    assert embedded(build(every=3), 11) == [0, 3, 6, 9]
    assert embedded(build(every=3).train(), 5) == [0, 1, 2, 3, 4]


def test_prompted_frames_are_aggregated():
    memory = build(every=3)
    with torch.no_grad():
        state, _ = run(memory, [make_entry(0), make_entry(1)])
        before = state.value[:, :, EMBEDDING].clone()
        state = memory.write(state, make_entry(2, prompted=True))
    assert not torch.equal(state.value[:, :, EMBEDDING], before)


def test_the_first_frame_stays_and_the_embedding_begins_as_it():
    memory, entries = build(), [make_entry(i, objects=2) for i in range(30)]
    with torch.no_grad():
        state, _ = run(memory, entries[:1])
        assert torch.equal(state.key[:, :, EMBEDDING], entries[0].key)
        assert torch.equal(state.value[:, :, EMBEDDING], entries[0].value)
        for entry in entries[1:]:
            state = memory.write(state, entry)
    assert torch.equal(state.key[:, :, FIRST], entries[0].key)
    assert torch.equal(state.value[:, :, FIRST], entries[0].value)
    assert (state.value[:, :, EMBEDDING] - entries[0].value).abs().max() > 0.1


def test_the_readout_is_attention_over_the_two():
    memory, (entries, queries) = build(), clip(5)
    with torch.no_grad():
        state, _ = run(memory, entries)
        readout, _ = memory.read(state, queries[4])
    key, value, query = state.key[0, 0].flatten(0, 1), state.value[0, 0].flatten(0, 1), queries[4].key[0]
    distances = (query[:, None].double() - key[None].double()).square().sum(-1)
    assert_close(readout[0, 0].double(), (-distances / KEY**0.5).softmax(-1) @ value.double())


def test_the_embedding_is_recurrent():
    """A frame long gone, in neither slot, still shows: every frame since went through the same embedding."""

    def after(seed):
        with torch.no_grad():
            return run(build(), [make_entry(0), make_entry(seed), *(make_entry(i) for i in range(10, 14))])[0]

    difference = (after(1).value - after(2).value).abs()
    assert difference[:, :, EMBEDDING].max() > 1e-3
    assert (difference[:, :, FIRST] == 0).all()


def test_the_embedding_stays_bounded():
    with torch.no_grad():
        state, _ = run(build(), [make_entry(i % 9) for i in range(300)])
    assert state.value.abs().max() < 20


def test_neighbours_enter_through_the_convolution():
    """The same values in another place of the grid give another embedding: the grid matters."""
    memory, entries = build(), [make_entry(i) for i in range(2)]
    with torch.no_grad():
        square, _ = run(memory, entries)
        for entry in entries:
            entry.grid = (1, POSITIONS)
        line, _ = run(memory, entries)
    assert (square.value[:, :, EMBEDDING] - line.value[:, :, EMBEDDING]).abs().max() > 1e-4


def test_defaults():
    memory = RecurrentEmbeddingMemory()
    assert isinstance(memory.reader, TopKReader)
    assert (memory.reader.k, memory.every) == (40, 3)
    readout = run(memory, [make_wide_entry()] * 3, [make_wide_query()] * 3)[1][-1]
    assert readout.shape == (1, 1, POSITIONS, 256)


def make_wide_entry():
    entry = make_entry()
    entry.key, entry.value = torch.randn(1, 1, POSITIONS, 64), torch.randn(1, 1, POSITIONS, 256)
    return entry


def make_wide_query():
    query = make_query()
    query.key = torch.randn(1, POSITIONS, 64)
    return query


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'RecurrentEmbeddingMemory\.every must be at least 1, got 0'):
        RecurrentEmbeddingMemory(every=0)
