"""XMem's memory: reads, consolidation and eviction against a plain version, the sensory state, objects that
appear later."""

import dataclasses
import math

import pytest
import torch
from helpers.memory_cases import (
    KEY,
    POSITIONS,
    VALUE,
    crop,
    full_clip,
    generator,
    make_entry,
    make_query,
    run,
    take,
)

from mmstremn.memory import FIFOSelector, SlotMemory
from mmstremn.memory.published.xmem import SensoryCell, TwoLevelMemory, TwoLevelState
from mmstremn.memory.published.xmem_consolidation import position_similarity
from mmstremn.memory.published.xmem_rules import PublicRules

DECODED, HIDDEN = 6, 4


def build(**kwargs) -> TwoLevelMemory:
    torch.manual_seed(0)
    small = dict(
        min_frames=2, max_frames=4, every=1, num_prototypes=3, capacity=7, k=5, sensory_channels=HIDDEN
    )
    return TwoLevelMemory(value_channels=VALUE, decoder_channels=DECODED, **(small | kwargs)).eval()


def stream(length, batch=1, objects=1, decoded=True, **kwargs):
    """Entries and queries; the same samples and objects whatever the batch."""
    entries = []
    for index in range(length):
        entry = make_entry(index, batch, objects, shrinkage=True, prompted=index == 0, **kwargs)
        if decoded and index:
            rows = [
                torch.randn(objects, POSITIONS, DECODED, generator=generator(index, b, 5))
                for b in range(batch)
            ]
            entry.extras['decoded'] = torch.stack(rows)
        entries.append(entry)
    return entries, [make_query(i, batch, True) for i in range(length)]


class Plain:
    """XMem's two memories for one sample, as lists of single positions in float64."""

    def __init__(self, memory, births):
        self.memory, self.births, self.working, self.long = memory, births, [], []

    def similarity(self, position, key, selection):
        return -position['s'] * (selection * (position['key'] - key) ** 2).sum() / math.sqrt(KEY)

    def softmax(self, places, key, selection, k=None):
        """Pairs of the k most similar positions and their weights."""
        alike = [(self.similarity(place, key, selection), place) for place in places]
        alike = sorted(alike, key=lambda pair: -pair[0])[:k]
        exps = [math.exp(value - alike[0][0]) for value, _ in alike]
        return [(place, e / sum(exps)) for (_, place), e in zip(alike, exps, strict=True)]

    def read(self, query):
        places = self.long + [place for frame in self.working for place in frame]
        k = None if self.memory.training else self.memory.k
        out = torch.zeros(len(self.births), POSITIONS, VALUE, dtype=torch.float64)
        self.asked = query.selection[0].double()
        for p in range(POSITIONS):
            for o, birth in enumerate(self.births):
                known = [place for place in places if place['frame'] >= birth]
                for place, weight in self.softmax(known, query.key[0, p].double(), self.asked[p], k):
                    out[o, p] += weight * place['value'][o]
                    place['use'] += weight if o == 0 else 0
        return out

    def write(self, entry, step):
        asked = self.asked if step else torch.ones(POSITIONS, KEY)
        value = torch.zeros(len(self.births), POSITIONS, VALUE, dtype=torch.float64)
        value[: entry.value.shape[1]] = entry.value[0]
        frame = [
            dict(key=k, s=s, value=v, e=e, frame=step, since=step, use=0.0)
            for k, s, v, e in zip(
                entry.key[0, 0].double(), entry.shrinkage[0, 0].tolist(), value.unbind(1), asked, strict=True
            )
        ]
        self.working.append(frame)
        if len(self.working) == self.memory.max_frames:
            self.consolidate(step)

    def consolidate(self, step):
        newest = self.memory.max_frames - self.memory.min_frames + 1
        candidates = [place for frame in self.working[1:newest] for place in frame]
        self.working[1:newest] = []
        chosen = self.most_used(candidates, self.memory.num_prototypes, step)
        self.long = self.most_used(self.long, self.memory.capacity - len(chosen), step)
        for place in chosen:
            value = torch.zeros_like(place['value'])
            for o, birth in enumerate(self.births):
                known = [other for other in candidates if other['frame'] >= birth]
                if place['frame'] >= birth:
                    for other, weight in self.softmax(known, place['key'], place['e']):
                        value[o] += weight * other['value'][o]
            self.long.append(place | dict(value=value, use=0.0, since=step))

    def most_used(self, places, number, step):
        return sorted(places, key=lambda place: -place['use'] / max(step - place['since'], 1))[:number]


@pytest.mark.parametrize('training', [False, True])
def test_every_readout_is_that_of_a_plain_version(training):
    """Top-k, usage, consolidation and eviction over 16 frames, with an object that appears at frame 4.

    One consolidation has frames 3 and 4 as candidates: prototypes of frame 4 must not mix in frame 3 for the
    new object.
    """
    memory, birth = build().train(training), 4
    entries, queries = stream(16, objects=2, decoded=False)
    plain, mixed = Plain(memory, (0, birth)), []
    with torch.no_grad():
        state = memory.init(take(entries[0], objects=[0]))
        for step, (entry, query) in enumerate(zip(entries, queries, strict=True)):
            if step:
                readout, state = memory.read(state, query)
                number = readout.shape[1]
                readout = readout - memory.project(state.sensory)
                torch.testing.assert_close(
                    readout[0].double(), plain.read(query)[:number], rtol=1e-5, atol=1e-5
                )
            state = memory.add_objects(state, 1) if step == birth else state
            entry = entry if step >= birth else take(entry, objects=[0])
            state = memory.write(state, entry)
            plain.write(entry, step)
            if step == 5:
                mixed += [place['frame'] for place in plain.long if place['since'] == step]
                assert (state.long_value[:, 1, state.long_frame[0, 0] < birth] == 0).all()
    assert set(mixed) == {3, 4}
    assert state.prototypes == memory.capacity
    assert sorted(state.long_frame.flatten().tolist()) == sorted(place['frame'] for place in plain.long)


def test_similarity_is_the_published_one_also_far_away():
    g = generator(3)
    key, stored = torch.randn(1, 4, KEY, generator=g) * 50, torch.randn(1, 1, 6, KEY, generator=g) * 50
    selection, shrinkage = torch.rand(1, 4, KEY, generator=g), 1 + torch.rand(1, 1, 6, generator=g)
    distance = (key[:, :, None].double() - stored.double()) ** 2
    expected = -shrinkage * (selection[:, :, None] * distance).sum(-1) / math.sqrt(KEY)
    torch.testing.assert_close(
        position_similarity(key, selection, stored, shrinkage).double(), expected, rtol=1e-4, atol=0.1
    )
    memory, (entries, queries) = build(), stream(6)
    for entry, query in zip(entries, queries, strict=True):
        entry.key.mul_(300)
        query.key.mul_(-300)
    assert all(readout.isfinite().all() for readout in run(memory, entries, queries)[1])


def test_a_sensory_cell_is_the_published_formula():
    torch.manual_seed(1)
    cell = SensoryCell(DECODED, HIDDEN).double()
    x, h = torch.randn(1, 1, 6, DECODED).double(), torch.randn(1, 1, 6, HIDDEN).double()
    padded = torch.zeros(4, 5, DECODED + HIDDEN).double()
    padded[1:3, 1:4] = torch.cat([x, h], -1).view(2, 3, -1)
    for p in range(6):
        window = padded[p // 3 : p // 3 + 3, p % 3 : p % 3 + 3]
        gates = torch.einsum('yxi,oiyx->o', window, cell.gates.weight) + cell.gates.bias
        f, u, v = gates[:HIDDEN].sigmoid(), gates[HIDDEN : 2 * HIDDEN].sigmoid(), gates[2 * HIDDEN :].tanh()
        expected = f * h[0, 0, p] * (1 - u) + u * v
        torch.testing.assert_close(cell(x, h, (2, 3))[0, 0, p], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('training', [False, True])
def test_the_sensory_state_follows_the_decoder_and_the_stored_values(training):
    memory, (entries, _) = build(every=3).train(training), stream(7)
    state, expected = memory.init(entries[0]), torch.zeros(1, 1, POSITIONS, HIDDEN)
    with torch.no_grad():
        for index, entry in enumerate(entries):
            state = memory.write(state, entry)
            if index:
                expected = memory.from_decoded(entry.extras['decoded'], expected, entry.grid)
            if index % 3 == 0:
                expected = memory.from_value(entry.value, expected, entry.grid)
            torch.testing.assert_close(state.sensory, expected, rtol=0, atol=0)


@torch.no_grad()
def test_the_sensory_state_follows_the_decoder_on_frames_that_are_passed_over():
    memory, (entries, queries) = build(), stream(4)
    state, _ = run(memory, entries[:3], queries)
    decoded = entries[3].extras['decoded']
    after = memory.pass_over(state, decoded)
    assert torch.equal(after.sensory, memory.from_decoded(decoded, state.sensory, state.grid))
    assert torch.equal(memory.pass_over(state).sensory, state.sensory) and after.step == 4


def test_without_decoder_features_the_sensory_state_follows_the_value():
    memory, (entries, _) = build(every=3), stream(3, decoded=False)
    with torch.no_grad():
        states = [run(memory, entries[:length])[0].sensory for length in (1, 2, 3)]
    assert not torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def held(memory, length, prompted=()):
    """The frames of working memory after each frame."""
    entries, queries = stream(length)
    steps, state = [], memory.init(entries[0])
    with torch.no_grad():
        for index, entry in enumerate(entries):
            if index:
                _, state = memory.read(state, queries[index])
            state = memory.write(state, dataclasses.replace(entry, prompted=index in prompted))
            steps.append(state.written_at[0, 0, : state.frames].tolist())
            assert (state.written_at[0, 0, state.frames :] == -1).all()
    return steps, state


def test_the_schedule_and_what_consolidation_leaves():
    memory = build(every=5, min_frames=3, max_frames=5)
    steps, state = held(memory, 31, prompted=(0, 7))
    assert steps[6:8] == [[0, 5], [0, 5, 7]]
    assert steps[14:16] == [[0, 5, 7, 10], [0, 10, 15]]
    assert steps[24:26] == [[0, 10, 15, 20], [0, 20, 25]]
    assert state.prototypes == 6
    assert set(state.long_frame[0, 0, :3].tolist()) <= {5, 7}
    assert set(state.long_frame[0, 0, 3:6].tolist()) <= {10, 15}
    assert held(build(max_frames=9).train(), 8)[0][-1] == list(range(8))


def test_defaults_are_those_of_the_paper():
    memory = TwoLevelMemory()
    assert (memory.min_frames, memory.max_frames, memory.every) == (5, 10, 5)
    assert (memory.num_prototypes, memory.capacity, memory.k) == (128, 10000, 30)


def test_eviction_drops_the_prototypes_that_are_used_least():
    memory = build()
    steps, state = held(memory, 7)
    assert (state.prototypes, steps[-1]) == (6, [0, 5, 6])
    assert state.long_since[0, 0, :6].tolist() == [3, 3, 3, 5, 5, 5]
    state.long_usage[0, 0, :6] = torch.tensor([4.0, 12.0, 8.0, 1.0, 5.0, 6.0])  # a frame: 1, 3, 2, .5, 2.5, 3
    expected = state.long_value[:, :, [1, 2, 4, 5]].clone()
    entries, _ = stream(8)
    with torch.no_grad():
        state = memory.write(state, entries[7])
    assert (state.prototypes, state.frames) == (memory.capacity, 2)
    torch.testing.assert_close(state.long_value[:, :, :4], expected, rtol=0, atol=0)
    assert (state.long_usage[:, :, 4:] == 0).all()


def test_what_was_used_is_read_long_after_its_frame_has_gone():
    """Frame 1 holds a look that is asked for all the time: after 200 frames the answer is still there."""
    memory = build(num_prototypes=4, capacity=12)
    memory.project.weight.data.zero_()
    entries, _ = stream(200)
    look = torch.full((1, POSITIONS, KEY), 8.0)
    entries[1].key[:], entries[1].value[:] = look, 77.0
    query = make_query(0, 1, True)
    query.key, query.selection = look, torch.ones_like(look)
    with torch.no_grad():
        state, readouts = run(memory, entries, [query] * 200)
    assert 1 not in state.written_at
    assert 1 in state.long_frame
    torch.testing.assert_close(readouts[-1], torch.full_like(readouts[-1], 77.0))
    with torch.no_grad():
        forgotten = run(SlotMemory(3, FIFOSelector()).eval(), entries, [query] * 200)[1][-1]
    assert (forgotten - 77).abs().min() > 10


def test_a_new_object_reads_only_what_was_written_since_and_disturbs_nobody():
    memory, birth, length = build(), 6, 16
    later, queries = stream(length, objects=2)

    def join(past, number=1):
        entries = crop(stream(birth + past)[0][past:]) if past else crop(later[:birth], objects=[0])
        with torch.no_grad():
            state = run(memory, entries, queries)[0]
            _, state = memory.read(state, queries[birth])
            state, readouts = memory.add_objects(state, number), []
            for index in range(birth, length):
                if index > birth:
                    readout, state = memory.read(state, queries[index])
                    readouts.append(readout)
                entry = crop(later[index : index + 1], objects=slice(0, 1 + number))[0]
                state = memory.write(state, dataclasses.replace(entry, prompted=index == birth))
        return state, torch.stack(readouts)

    state, readouts = join(0)
    assert state.births == (0, birth)
    assert (readouts - join(50)[1]).abs()[:, :, 0].max() > 1e-3
    torch.testing.assert_close(readouts[:, :, :1], join(0, 0)[1])
    memory.project.weight.data.zero_()
    first = join(0)[1][0][0, 1]
    value, key = later[birth].value[0, 1], later[birth].key
    weight = position_similarity(queries[7].key, queries[7].selection, key, later[birth].shrinkage)[
        0
    ].softmax(-1)
    torch.testing.assert_close(first, weight @ value)


def test_a_new_object_has_no_sensory_state_before_its_first_value():
    memory = build(every=100)
    entries, _ = stream(4, objects=2)
    with torch.no_grad():
        state = run(memory, crop(entries[:2], objects=[0]))[0]
        state = memory.add_objects(state, 1)
        entries[2].extras['decoded'][:, 1] = 9.0
        state = memory.write(state, dataclasses.replace(entries[2], prompted=True))
        expected = memory.from_value(
            entries[2].value[:, 1:], torch.zeros(1, 1, POSITIONS, HIDDEN), entries[2].grid
        )
    torch.testing.assert_close(state.sensory[:, 1:], expected)


@pytest.mark.parametrize('frames', [4, 10])
def test_gradients_reach_every_parameter_and_all_that_is_stored(frames):
    """Also through a consolidation, which four slots meet in a clip of 6 frames."""
    memory, (entries, queries) = build(max_frames=frames).train(), stream(6)
    for entry in entries:
        entry.value.requires_grad_()
        entry.key.requires_grad_()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in memory.parameters())
    assert all(entry.value.grad.abs().max() > 0 and entry.key.grad.abs().max() > 0 for entry in entries[:-1])


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('min_frames', 1, 'at least 2'),
        ('max_frames', 2, r'more than min_frames \(2\)'),
        ('every', 0, 'at least 1'),
        ('num_prototypes', 0, 'at least 1'),
        ('k', 0, 'at least 1'),
        ('permanent', 0, 'at least 1'),
        ('capacity', 2, r'at least num_prototypes \(3\) and buffer \(0\) together'),
        ('sensory_channels', -1, 'at least 0'),
    ],
)
def test_nonsense_is_refused(name, value, expected):
    with pytest.raises(ValueError, match=rf'TwoLevelMemory\.{name} must be {expected}, got {value}'):
        build(**{name: value})


def test_entries_need_shrinkage():
    with pytest.raises(ValueError, match=r'Entry\.shrinkage'):
        build().init(make_entry())


def frames_held(permanent: int, prompted: tuple[int, ...], length: int = 16) -> list[list[int]]:
    """The frames in working memory after each of ``length``."""
    memory = build(min_frames=3, max_frames=5, every=1, num_prototypes=2, capacity=9, permanent=permanent)
    entries, queries = full_clip(length, prompted=prompted)
    state, held = memory.init(entries[0]), []
    with torch.no_grad():
        for step, entry in enumerate(entries):
            if step:
                _, state = memory.read(state, queries[step])
            state = memory.write(state, entry)
            held.append(state.written_at[0, 0, : state.frames].tolist())
            assert (state.written_at[0, 0, state.frames :] == -1).all()
            assert not state.key[:, :, state.frames :].any()
    return held


def test_corrected_frames_stay_and_are_bounded():
    """XMem++: prompted frames are never consolidated; beyond ``permanent`` the oldest but the first give
    way."""
    held = frames_held(3, prompted=(0, 2, 6, 9))
    assert all({0, 2} <= set(frames) for frames in held[2:9])
    assert all({0, 6} <= set(frames) for frames in held[6:])
    assert all({0, 6, 9} <= set(frames) for frames in held[9:])
    assert 2 not in held[-1]
    assert max(map(len, held)) <= 5 + 3 - 1
    assert held[-1] == sorted(held[-1])
    assert all(2 not in frames for frames in frames_held(1, prompted=(0, 2))[5:])


@pytest.mark.parametrize('permanent', [2, 4])
def test_one_prompt_needs_no_room_for_others(permanent):
    assert frames_held(permanent, prompted=(0,)) == frames_held(1, prompted=(0,))


def test_streams_of_an_earlier_version_have_no_permanent_slots():
    state = build().init(full_clip(1)[0][0])
    assert state.permanent is None
    plain = {name: value for name, value in state.plain().items() if name != 'permanent'}
    assert TwoLevelState(**state.tensors(), **plain).permanent is None


def test_the_rules_of_the_public_code():
    rules = PublicRules()
    assert [rules.is_regular(step, 3, every=5) for step in (5, 7, 8, 9)] == [False, False, True, True]
    similarity = torch.tensor([[[0.0, math.log(3.0)], [0.0, -50.0]]])  # weights 1/4 and 3/4; 1 and 0
    shrinkage = torch.tensor([[[2.0, 6.0]]])
    averaged = rules.shrinkage(similarity, shrinkage, torch.zeros(1, 2, dtype=torch.long))
    torch.testing.assert_close(averaged, torch.tensor([[[5.0, 2.0]]]))
