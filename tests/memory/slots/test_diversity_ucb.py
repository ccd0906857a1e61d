"""READMem's and RMem's rules against their formulas written out; AOT's first and previous frame."""

import dataclasses
import itertools
import math

import pytest
import torch
from helpers.memory_cases import (
    KEY,
    POSITIONS,
    VALUE,
    assert_equal_states,
    generator,
    make_entry,
    make_query,
    run,
    take,
)

from mmstremn.memory import (
    EmptyFirst,
    FIFOSelector,
    KeepFirst,
    LFUSelector,
    MostSimilarSelector,
    Query,
    SlotMemory,
    SlotState,
)
from mmstremn.memory.slots.diversity import DiversitySelector
from mmstremn.memory.slots.selectors import UCBSelector
from mmstremn.registry import build

BOTH = pytest.mark.parametrize('selector', [DiversitySelector, UCBSelector])
LENGTH = 12


def stream(length=LENGTH, **kwargs):
    return [make_entry(i, **kwargs) for i in range(length)], [
        make_query(i, kwargs.get('batch', 1)) for i in range(length)
    ]


def held(memory, length=LENGTH, entries=None):
    """The frames that the slots hold after each frame of a stream."""
    entries = entries or stream(length)[0]
    state, history = memory.eval().init(entries[0]), []
    with torch.no_grad():
        for index, entry in enumerate(entries):
            if index:
                _, state = memory.read(state, make_query(index))
            state = memory.write(state, entry)
            history.append(sorted(state.written_at[0, 0].tolist()))
    return history


# Diversity.


def plain_similarity(older, newer):
    """Cosine of two frames (P, Ck), position by position matched with the older's nearest."""
    matched = torch.stack([older[(older - q).square().sum(-1).argmin()] for q in newer]).flatten()
    newer = newer.flatten()
    return torch.round((matched @ newer) / (matched.norm() * newer.norm()), decimals=5)


def plain_diversity(frames):
    """|det| of the Gram matrix of frames (P, Ck), the oldest first."""
    gram = torch.eye(len(frames), dtype=torch.double)
    for i, newer in enumerate(frames):
        for j, older in enumerate(frames[:i]):
            gram[i, j] = gram[j, i] = plain_similarity(older, newer)
    return torch.linalg.det(gram).abs()


@pytest.mark.parametrize('groups', [1, 2])
def test_diversity_is_the_determinant_of_each_replacement(groups):
    """Slots in another order for each sample: the newer of two frames is the one that is matched."""
    batch, slots, step = 3, 4, 9
    state = SlotState.empty(make_entry(batch=batch, objects=2, groups=groups), slots)
    stamps = [torch.randperm(step, generator=generator(row))[:slots] for row in range(batch * groups)]
    state.written_at[:] = torch.stack(stamps).view(batch, groups, slots)
    state.key[:] = torch.randn(state.key.shape, generator=generator(50)) + 1
    state.step, entry = step, make_entry(99, batch=batch, objects=2, groups=groups)
    logits = DiversitySelector()(state, entry)
    assert logits.shape == (batch, groups, slots + 1)
    for sample in range(batch):
        for group in range(groups):
            order = state.written_at[sample, group].argsort().tolist()
            keys = {slot: state.key[sample, group, slot].double() for slot in order}
            new = entry.key[sample, group].double()
            for dropped in range(slots):
                expected = plain_diversity([*(keys[slot] for slot in order if slot != dropped), new])
                torch.testing.assert_close(
                    logits[sample, group, dropped].double().exp(), expected, rtol=1e-4, atol=1e-5
                )
            expected = plain_diversity([keys[slot] for slot in order])
            torch.testing.assert_close(
                logits[sample, group, slots].double().exp(), expected, rtol=1e-4, atol=1e-5
            )


def moved(entry):
    """The same content at other places."""
    return dataclasses.replace(entry, key=entry.key.roll(1, 2))


def test_a_frame_that_the_bank_knows_is_skipped_even_if_all_has_moved():
    memory = SlotMemory(3, DiversitySelector()).eval()
    entries = [
        make_entry(0),
        make_entry(1),
        make_entry(2),
        moved(make_entry(2)),
        make_entry(2),
        moved(make_entry(2)),
    ]
    assert held(memory, entries=entries)[-1] == [0, 1, 2]


def test_a_new_kind_takes_the_place_of_a_duplicate():
    memory = SlotMemory(3, DiversitySelector()).eval()
    entries = [make_entry(0), make_entry(1), moved(make_entry(1)), make_entry(2)]
    with torch.no_grad():
        state, _ = run(memory, entries)
    stamps = sorted(state.written_at[0, 0].tolist())
    assert stamps in ([0, 1, 3], [0, 2, 3])


def test_the_bank_never_becomes_less_diverse():
    memory = SlotMemory(4, DiversitySelector()).eval()
    entries = stream(30)[0]
    frames = held(memory, entries=entries)
    volumes = [plain_diversity([entries[i].key[0, 0].double() for i in kept]) for kept in frames[3:]]
    assert all(later >= sooner - 1e-6 for sooner, later in itertools.pairwise(volumes))
    assert volumes[-1] > 2 * volumes[0]
    skipped = sum(kept == before for before, kept in itertools.pairwise(frames[3:]))
    assert 0 < skipped < 26


def test_diversity_fills_empty_slots_without_a_gate():
    memory = SlotMemory(3, DiversitySelector(), gates=[])
    assert held(memory, 3, [make_entry(0)] * 3) == [[-1, -1, 0], [-1, 0, 1], [0, 1, 2]]


def test_a_still_video_adds_nothing():
    assert held(SlotMemory(3, DiversitySelector()), 9, [make_entry(0)] * 9)[-1] == [0, 1, 2]


def test_diversity_is_not_the_rule_of_likeness_at_the_same_position():
    entries = [make_entry(0), make_entry(1), make_entry(2), moved(make_entry(0)), make_entry(3)]
    histories = [held(SlotMemory(3, s()), entries=entries) for s in (DiversitySelector, MostSimilarSelector)]
    assert histories[0] != histories[1]


# UCB.


def plain_ucb(shares, written_at, step):
    """The bounds from the shares (T, S) drawn by the slots at the reads since frame 1."""
    bounds, counts = [], []
    for slot, stamp in enumerate(written_at):
        counts.append(len(written_at) if stamp == 0 else step - stamp + 1)
        average = None
        for time in range(stamp + 1, step + 1):
            share = shares[time - 1][slot]
            average = share if average is None else 0.2 * average + 0.8 * share
        bounds.append(average)
    total = torch.tensor(float(sum(counts)), dtype=torch.double)
    return [a + 1.5 * (total.log() / (n + 8)).sqrt() for a, n in zip(bounds, counts, strict=True)]


@pytest.mark.parametrize('training', [False, True])
def test_ucb_is_the_formula(training):
    memory = SlotMemory(4, UCBSelector()).train(training)
    entries, queries = stream(20)
    state, shares = memory.init(entries[0]), []
    with torch.set_grad_enabled(training):
        for step, entry in enumerate(entries):
            if step:
                hits = state.hits.clone()
                _, state = memory.read(state, queries[step])
                shares.append((state.hits - hits)[0, 0].double())
            if step >= 4:
                stamps = state.written_at[0, 0].tolist()
                expected = torch.stack(plain_ucb(shares, stamps, step))
                torch.testing.assert_close(
                    -memory.selector.score(state, entry)[0, 0].double(), expected, rtol=0, atol=1e-5
                )
                slot = int(memory.select(state, entry)[0, 0].argmax())
                assert slot == int(expected.argmin())
            state = memory.write(state, entry)
    assert state.relevance[0, 0].min() == -1  # what was just written was not read


def test_ucb_gives_a_new_slot_time():
    """Equally relevant slots: the oldest goes. Much less relevant ones go even if they are newer."""
    state = SlotState.empty(make_entry(), 3)
    state.written_at[:], state.step = torch.tensor([3, 8, 5]), 10
    state.relevance = torch.tensor([[[0.2, 0.2, 0.2]]])
    assert UCBSelector()(state, make_entry()).argmax() == 0
    state.relevance = torch.tensor([[[0.6, 0.0, 0.4]]])
    assert UCBSelector()(state, make_entry()).argmax() == 1
    assert UCBSelector(exploration=0)(state, make_entry()).argmax() == 1
    state.relevance = torch.tensor([[[0.3, 0.2, 0.5]]])
    assert UCBSelector()(state, make_entry()).argmax() == 0
    assert UCBSelector(exploration=0)(state, make_entry()).argmax() == 1


def test_ucb_counts_frames_where_the_public_code_counts_memory_updates():
    """What docs/memories.md states: n at frame 30 of slots that hold frames 20, 25, 15 (``EveryN(5)``)."""
    state = SlotState.empty(make_entry(), 4)
    state.written_at[:], state.step = torch.tensor([0, 20, 25, 15]), 30
    state.relevance = torch.zeros(1, 1, 4)
    bounds = -UCBSelector().score(state, make_entry())[0, 0].double()
    ours, theirs = ([4.0, *counts] for counts in ([11, 6, 16], [3, 2, 4]))
    for counts, equal in ((ours, True), (theirs, False)):
        expected = torch.tensor([1.5 * (math.log(sum(counts)) / (n + 8)) ** 0.5 for n in counts])
        assert torch.allclose(bounds, expected.double(), atol=1e-5) == equal


def test_ucb_with_keep_first_never_drops_frame_0():
    assert all(
        0 in frames for frames in held(SlotMemory(3, UCBSelector(), gates=[EmptyFirst(), KeepFirst()]), 40)
    )


def test_ucb_is_not_lfu():
    """Relevance forgets: it follows the reads of late, the mean of all reads does not."""
    histories = [held(SlotMemory(4, s()), 40) for s in (UCBSelector, LFUSelector)]
    assert histories[0] != histories[1]


def test_relevance_is_kept_only_where_it_is_asked_for():
    for selector, kept in ((FIFOSelector(), False), (UCBSelector(), True), (DiversitySelector(), False)):
        state = SlotMemory(2, selector).init(make_entry())
        assert (state.relevance is not None) == kept
    with pytest.raises(ValueError, match=r'UCBSelector needs SlotState\.relevance'):
        UCBSelector()(SlotState.empty(make_entry(), 2), make_entry())
    with pytest.raises(ValueError, match=r'UCBSelector\.exploration must be at least 0, got -1'):
        UCBSelector(-1)


# What holds for every memory.


@BOTH
@pytest.mark.parametrize('objects, groups', [(1, 1), (2, 1), (2, 2)])
def test_training_and_evaluation_are_equal(selector, objects, groups):
    memory = SlotMemory(3, selector())
    entries, queries = stream(batch=2, objects=objects, groups=groups)
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained, evaluated, 1e-6)
    torch.testing.assert_close(torch.stack(train_readouts), torch.stack(readouts), rtol=0, atol=1e-6)


@BOTH
def test_rows_do_not_depend_on_each_other(selector):
    memory = SlotMemory(3, selector()).eval()
    entries, queries = stream(20, batch=4)
    with torch.no_grad():
        state, _ = run(memory, entries, queries)
        for row in range(4):
            rows = [take(entry, slice(row, row + 1)) for entry in entries]
            alone, _ = run(memory, rows, [Query(query.key[row : row + 1]) for query in queries])
            assert alone.written_at[0].tolist() == state.written_at[row].tolist()
    assert len({tuple(row) for row in state.written_at[:, 0].tolist()}) > 1


@BOTH
@pytest.mark.parametrize('own_keys', [False, True])
def test_a_reloaded_state_goes_on_alike_also_with_a_new_object(selector, own_keys):
    memory = SlotMemory(3, selector(), per_object_key=own_keys).eval()
    entries, queries = stream()
    grown = [make_entry(i, objects=2, groups=2 if own_keys else 1) for i in range(LENGTH)]
    with torch.no_grad():
        state, _ = run(memory, entries[:6], queries[:6])
        state = memory.add_objects(state, 1)
        loaded = SlotState(**state.clone().tensors(), **state.plain())
        for index in range(6, LENGTH):
            readouts = []
            if index > 6:
                readout, state = memory.read(state, queries[index])
                again, loaded = memory.read(loaded, queries[index])
                readouts = [readout, again]
                torch.testing.assert_close(*readouts, rtol=0, atol=0)
            state, loaded = memory.write(state, grown[index]), memory.write(loaded, grown[index])
    assert_equal_states(state, loaded)


@BOTH
def test_bytes_stay(selector):
    memory = SlotMemory(3, selector()).eval()
    with torch.no_grad():
        state, _ = run(memory, *stream(4))
        for index in range(50):
            _, state = memory.read(state, make_query(index))
            state = memory.write(state, make_entry(index % 11))
    assert state.nbytes == 3 * POSITIONS * (KEY + VALUE) * 4 + 3 * (8 + 8 + 4 + 4 * (selector is UCBSelector))


@BOTH
def test_they_are_not_fifo(selector):
    assert held(SlotMemory(3, selector())) != held(SlotMemory(3, FIFOSelector()))


@BOTH
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_scores_are_finite(selector, dtype):
    entries = [make_entry(i % 3, dtype=dtype) for i in range(8)]  # equal frames too
    memory = SlotMemory(3, selector()).eval()
    state = memory.init(entries[0])
    with torch.no_grad():
        for index, entry in enumerate(entries):
            assert selector()(state, entry).isfinite().all()
            state = memory.write(state, entry)
            _, state = memory.read(state, make_query(index, dtype=dtype))


# AOT.


def test_first_and_previous_frame_as_a_config():
    """The memory of AOTT, AOTS and AOTB (Yang et al., NeurIPS 2021): frame 0 and the previous frame, whatever
    the length."""
    gates = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
    memory = build(dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'), gates=gates))
    assert held(memory, 30) == [[-1, 0], *([0, t] for t in range(1, 30))]
