"""The bank of merged features: what is merged, appended, evicted, and how it is read."""

import dataclasses
import math

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, join, make_entry, make_query, run

from mmstremn.memory import AnisotropicL2Affinity, DotAffinity, Entry, Query
from mmstremn.memory.published.afb_urr import MergingMemory, _eviction_order

CONSTANT, TOLERANCE = 3.0, 1e-5


def build(**kwargs):
    return MergingMemory(**{'capacity': 2, **kwargs}).eval()


def stream(length=10, batch=1, objects=1, dtype=torch.float32):
    """Half of the positions stay almost what they were, the others are new in every frame."""
    first = make_entry(99, batch, dtype=dtype).key
    entries = [make_entry(i, batch, objects, dtype=dtype) for i in range(length)]
    for entry in entries:
        entry.key[:, :, ::2] = first[:, :, ::2] + 0.1 * entry.key[:, :, ::2]
    return entries, [make_query(i, batch, dtype=dtype) for i in range(length)]


def entry_of(keys, values=None, **kwargs):
    """An entry of one sample and object with these keys."""
    key = torch.tensor(keys, dtype=torch.float32)[None, None]
    value = torch.zeros(*key.shape[:3], 1) if values is None else torch.tensor(values)[None, None, :, None]
    return Entry(key, value, (1, key.shape[2]), **kwargs)


def cosine(a, b):
    return (a @ b / (a.norm() * b.norm())).item()


class PlainBank:
    """The rules of the bank for one sample, a place at a time, in Python floats."""

    def __init__(self, places):
        self.places = [None] * places

    def read(self, query):
        held = [p for p in self.places if p]
        distance = torch.cdist(query, torch.stack([p['key'] for p in held]))
        weight = (-distance.square() / math.sqrt(KEY)).softmax(-1)  # (P, places)
        for place, attention in zip(held, weight.T, strict=True):
            place['usage'] += math.log(1 + int((attention > 1e-3).sum()))
        return torch.stack([weight @ values for values in torch.stack([p['value'] for p in held], 1)])

    def write(self, key, value, step):
        groups, novel = {}, []
        known = [(n, (p['key'] / p['key'].norm())) for n, p in enumerate(self.places) if p]
        for i in range(len(key)):
            scores = [((key[i] @ direction / key[i].norm()).item(), n) for n, direction in known]
            best, place = max(scores, key=lambda s: s[0], default=(-2, 0))
            if best > 0.95:
                groups.setdefault(place, []).append(i)
            else:
                novel.append((best, i))
        for place, members in groups.items():
            old = self.places[place]
            old['key'] = 0.9 * old['key'] + 0.1 * key[members].mean(0)
            old['value'] = 0.9 * old['value'] + 0.1 * value[:, members].mean(1)
            old['changed'] = step

        def order(n):
            p = self.places[n]
            return (-1, -1, n) if p is None else (p['usage'] / max(step - p['written'], 1), p['written'], n)

        free = sorted(range(len(self.places)), key=order)
        for (_, i), n in zip(sorted(novel), free, strict=False):
            self.places[n] = dict(key=key[i], value=value[:, i], written=step, changed=step, usage=0.0)


def test_the_rules_written_plainly():
    entries, queries = stream(12, objects=2, dtype=torch.float64)
    memory, bank, merged = build(capacity=2), PlainBank(2 * POSITIONS), 0
    with torch.no_grad():
        state = memory.init(entries[0])
        for step, (entry, query) in enumerate(zip(entries, queries, strict=True)):
            if step:
                readout, state = memory.read(state, query)
                torch.testing.assert_close(readout[0], bank.read(query.key[0]), rtol=0, atol=1e-5)
            state = memory.write(state, entry)
            bank.write(entry.key[0, 0], entry.value[0], step)
            for n, place in enumerate(bank.places):
                if place is None:
                    assert state.written_at[0, 0, n] == state.changed_at[0, 0, n] == -1
                    continue
                torch.testing.assert_close(state.key[0, 0, n], place['key'], rtol=0, atol=1e-5)
                torch.testing.assert_close(state.value[0, :, n], place['value'], rtol=0, atol=1e-5)
                torch.testing.assert_close(state.usage[0, 0, n].item(), place['usage'], rtol=0, atol=1e-4)
                assert (state.written_at[0, 0, n], state.changed_at[0, 0, n]) == (
                    place['written'],
                    place['changed'],
                )
                merged += place['changed'] > place['written']
    assert merged > 10, 'the stream merges too little to test it'
    assert all(bank.places), 'the stream is too short to fill the bank'


def test_what_is_known_already_takes_no_place():
    memory = build(capacity=4)
    with torch.no_grad():
        state, _ = run(memory, [make_entry(0)] * 9)
        assert (state.written_at >= 0).sum() == POSITIONS
        assert (state.changed_at == 8).sum() == POSITIONS
        torch.testing.assert_close(state.key[:, :, :POSITIONS].sort(2)[0], make_entry(0).key.sort(2)[0])
        state = memory.write(state, make_entry(5))
    assert (state.written_at == 9).sum() >= POSITIONS - 1


@pytest.mark.parametrize(('angle', 'merges'), [(0.31, True), (0.33, False)])
def test_the_threshold_is_a_cosine_of_95_percent(angle, merges):
    """cos(.31) = .952, cos(.33) = .946, whatever the length."""
    memory = build()
    with torch.no_grad():
        state, _ = run(
            memory, [entry_of([[1.0, 0.0]]), entry_of([[7 * math.cos(angle), 7 * math.sin(angle)]])]
        )
    assert (state.written_at >= 0).sum() == (1 if merges else 2)


def test_several_that_choose_one_place_are_averaged():
    memory = build()
    with torch.no_grad():
        first = entry_of([[1.0, 0.0], [0.0, 1.0]], [1.0, 5.0])
        state, _ = run(memory, [first, entry_of([[2.0, 0.0], [4.0, 0.0]], [2.0, 4.0])])
    place = state.key[0, 0, :, 0].argmax()
    torch.testing.assert_close(state.key[0, 0, place], torch.tensor([0.9 + 0.1 * 3, 0.0]))
    torch.testing.assert_close(state.value[0, 0, place], torch.tensor([0.9 + 0.1 * 3]))
    assert (state.written_at >= 0).sum() == 2


def test_the_least_frequently_used_makes_room_not_the_oldest():
    memory = build(capacity=2)
    far = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [-9.0, 0.0, 0.0], [0.0, -9.0, 0.0]]
    with torch.no_grad():
        state = memory.init(entry_of(far[:2]))
        for step in range(2):
            state = memory.write(state, entry_of(far[2 * step : 2 * step + 2]))
        for used in (0, 1, 1, 3):  # all but the third
            _, state = memory.read(state, Query(torch.tensor(far)[None, [used, used]]))
        state = memory.write(state, entry_of([far[4], far[0]]))
    held = {tuple(key) for key in state.key[0, 0].tolist()}
    assert held == {tuple(far[i]) for i in (0, 1, 3, 4)}


def test_of_equal_features_the_first_place_makes_room():
    state = build(capacity=300 // POSITIONS).init(make_entry())
    state = dataclasses.replace(state, written_at=(torch.arange(300) % 3).view(1, 1, -1), step=5)
    expected = torch.cat([torch.arange(start, 300, 3) for start in range(3)])
    torch.testing.assert_close(_eviction_order(state), expected[None])


def test_usage_counts_query_positions_not_attention():
    memory = build()
    far = [[9.0, 0.0], [0.0, 9.0], [-9.0, 0.0]]
    with torch.no_grad():
        state, _ = run(memory, [entry_of(far)])
        _, state = memory.read(state, Query(torch.tensor(far)[None, [0, 0, 1]]))
    by_key = {tuple(k): u for k, u in zip(state.key[0, 0].tolist(), state.usage[0, 0].tolist(), strict=True)}
    assert [by_key[tuple(k)] for k in far] == pytest.approx([math.log(3), math.log(2), 0])


def test_a_prompted_frame_is_appended_whole():
    entry = make_entry(0)
    with torch.no_grad():
        state, _ = run(build(), [entry, dataclasses.replace(entry, prompted=True)])
    assert (state.written_at == 1).sum() == POSITIONS
    assert (state.written_at == 0).sum() == POSITIONS


def test_the_first_value_of_a_new_object_replaces_and_the_next_are_averaged():
    memory = build()
    with torch.no_grad():
        state, _ = run(memory, [entry_of([[1.0, 0.0]], [8.0])])
        state = memory.add_objects(state, 1)
        expected = [[8.0, 0.0]]
        for value in (2.0, 3.0):
            entry = entry_of([[1.0, 0.0]])
            state = memory.write(
                state, dataclasses.replace(entry, value=torch.tensor([8.0, value]).view(1, 2, 1, 1))
            )
            expected.append(state.value[0, :, 0, 0].tolist())
    assert expected[1] == pytest.approx([8.0, 2.0])
    assert expected[2] == pytest.approx([8.0, 2.1])
    assert (state.written_at >= 0).sum() == 1


@pytest.mark.parametrize(('share', 'number'), [(0.1, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_swiftnet_appends_the_most_novel_share(share, number):
    memory, first, second = build(capacity=3, novel_share=share), make_entry(0), make_entry(1)
    with torch.no_grad():
        state, _ = run(memory, [first])
        assert (state.written_at == 0).sum() == POSITIONS
        before = state.clone()
        state = memory.write(state, second)
    best = [max(cosine(new, old) for old in first.key[0, 0]) for new in second.key[0, 0]]
    expected = sorted(range(POSITIONS), key=lambda i: best[i])[:number]
    new = state.written_at[0, 0] == 1
    torch.testing.assert_close(state.key[0, 0, new], second.key[0, 0, expected])
    torch.testing.assert_close(state.value[0, 0, new], second.value[0, 0, expected])
    assert torch.equal(state.key[0, 0, ~new], before.key[0, 0, ~new])


def test_swiftnet_never_merges():
    with torch.no_grad():
        state, _ = run(build(novel_share=0.5), [make_entry(0)] * 3)
    assert torch.equal(state.written_at, state.changed_at)
    assert (state.written_at == 1).sum() == (state.written_at == 2).sum() == POSITIONS // 2


def test_gradients_reach_merged_and_appended_features():
    entries, queries = stream(6)
    for entry in entries:
        entry.key.requires_grad_()
        entry.value.requires_grad_()
    _, readouts = run(build(capacity=6).train(), entries, queries)
    torch.stack(readouts).square().sum().backward()
    for entry in entries[:-1]:
        assert (entry.key.grad.abs().sum(-1) > 0).all()
        assert (entry.value.grad.abs().sum(-1) > 0).all()


def test_the_defaults_and_the_affinity():
    memory = MergingMemory()
    assert (memory.capacity, memory.novel_share, memory.per_object_key, memory.needs_selection) == (
        4,
        None,
        False,
        False,
    )
    entries, queries = stream()
    with torch.no_grad():
        l2, dot = (torch.stack(run(build(affinity=a), entries, queries)[1]) for a in (None, DotAffinity()))
    assert (l2 - dot).abs().max() > 1e-2


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'MergingMemory\.capacity must be at least 1 frame, got 0'):
        MergingMemory(0)
    with pytest.raises(
        ValueError, match=r'MergingMemory\.novel_share must be above 0 and at most 1, or None, got 1\.5'
    ):
        MergingMemory(novel_share=1.5)
    with pytest.raises(
        ValueError, match=r'MergingMemory\.affinity must need no selection.*got AnisotropicL2Affinity'
    ):
        MergingMemory(affinity=AnisotropicL2Affinity())


def test_a_constant_value_of_a_new_object_is_read_as_it_is():
    """Older places, which know nothing of it, do not dilute it."""
    entries, queries = stream(objects=2)
    for entry in entries:
        entry.value[:, 1] = CONSTANT
    readouts, _ = join(build(), entries, queries, 4)
    torch.testing.assert_close(
        readouts[:, :, 1], torch.full_like(readouts[:, :, 1], CONSTANT), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize('novel_share', [None, 0.1])
def test_a_long_stream_fills_the_bank(novel_share):
    with torch.no_grad():
        state, _ = run(build(capacity=3, novel_share=novel_share), [make_entry(i, 2, 3) for i in range(50)])
    assert (state.written_at >= 0).all()
