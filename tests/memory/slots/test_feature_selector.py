"""The selector of features: they say what they should, whatever the shapes."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import make_entry, make_query, run

from mmstremn.memory import EmptyFirst, FeatureSelector, FIFOSelector, SlotMemory
from mmstremn.memory.slots.feature_selector import FEATURES

SLOTS = 3


def entry_of(step, covered, prompted=False, confidence=None, groups=1):
    """An entry whose masks cover so many of the 4 positions."""
    entry = make_entry(step, objects=len(covered), groups=groups, prompted=prompted)
    entry.extras['mask'] = torch.stack(
        [torch.tensor([float(position < number) for position in range(4)]) for number in covered]
    )[None]
    if confidence is not None:
        entry.extras['confidence'] = torch.tensor([confidence])
    return entry


def features(entries, groups=1, read=True):
    """By name, (G, S + 1) of the state before the last of the entries."""
    torch.manual_seed(0)
    memory = SlotMemory(SLOTS, FeatureSelector(8), gates=[EmptyFirst()]).eval()
    queries = [make_query(index) for index in range(len(entries))] if read else None
    state, _ = run(memory, entries[:-1], queries)
    with torch.no_grad():
        values = memory.selector.features(state, entries[-1])
    assert values.isfinite().all()
    return dict(zip(FEATURES, values[0].unbind(-1), strict=True)), state


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def test_features_of_objects():
    covered = [(2, 0), (0, 3), (1, 0), (0, 0)]
    entries = [entry_of(i, c, prompted=i == 1, confidence=(0.9 - i / 10, 0.8)) for i, c in enumerate(covered)]
    found, _ = features(entries)
    assert found['prompted'].tolist() == [[0, 1, 0, 0]]
    assert found['shows_none'].tolist() == [[0, 0, 0, 1]]
    assert found['alone'].tolist() == [[0, 1, 0, 0]]
    assert found['share'].tolist() == [[0.5, 1, 0.5, 0]]
    assert found['surer'].tolist() == [[1, 1, 0, 0]]
    assert found['first_look'].tolist() == [[1, 1, 0, 0]]
    assert found['last_look'].tolist() == [[0, 1, 1, 0]]
    assert found['is_new'].tolist() == [[0, 0, 0, 1]]
    torch.testing.assert_close(found['popularity'], torch.tensor([[2 / 3, 1 / 3, 2 / 3, 0]]))
    torch.testing.assert_close(found['covered'].expm1(), torch.tensor([[2.0, 3, 1, 0]]))
    torch.testing.assert_close(found['away'].expm1(), torch.tensor([[1.0, 2, 1, 0]]))
    torch.testing.assert_close(found['age'].expm1(), torch.tensor([[3.0, 2, 1, 0]]))


def test_one_step_after_the_first_frame():
    memory = SlotMemory(SLOTS, FeatureSelector(8), gates=[EmptyFirst()]).eval()
    state, _ = run(memory, [entry_of(0, (2,))])
    _, state = memory.read(state, make_query())
    values = memory.selector.features(state, entry_of(1, (0,)))
    found = dict(zip(FEATURES, values[0, 0].unbind(-1), strict=True))
    assert found['first_look'].tolist() == found['last_look'].tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(found['usage'].expm1(), torch.tensor([1.0, 0, 0, 0]))


def test_at_the_first_frame_no_object_has_been_away():
    memory, entry = SlotMemory(SLOTS, FeatureSelector(8), gates=[EmptyFirst()]).eval(), entry_of(0, (2, 3))
    found = memory.selector.features(memory.init(entry), entry)
    assert not found[..., FEATURES.index('away')].any()


def test_samples_of_a_batch_are_apart():
    """Two videos that stored other frames at other times, and showed other objects."""
    memory, alone = SlotMemory(SLOTS, FeatureSelector(8), gates=[EmptyFirst()]).eval(), []
    entries = [[entry_of(10 * video + i, (i % 3, video, 3 - i)) for i in range(4)] for video in (0, 1)]
    states = [run(memory, own[:3], [make_query(7)] * 3)[0] for own in entries]
    states[1].written_at[0, 0] = torch.tensor([0, 1, -1])
    for state, own in zip(states, entries, strict=True):
        alone.append(memory.selector.features(state, own[3]))
    both = {n: torch.cat([state.tensors()[n] for state in states]) for n in states[0].tensors()}
    joined = dataclasses.replace(
        entries[0][3],
        key=torch.cat([own[3].key for own in entries]),
        value=torch.cat([own[3].value for own in entries]),
        extras=dict(mask=torch.cat([own[3].extras['mask'] for own in entries])),
    )
    together = memory.selector.features(dataclasses.replace(states[0], **both), joined)
    torch.testing.assert_close(together, torch.cat(alone))
    assert (alone[0] - alone[1]).abs().max() > 0.1


def test_likeness_is_that_of_the_keys():
    entries = [entry_of(i, (1,)) for i in (0, 1, 2, 0)]
    found, _ = features(entries)
    assert found['likeness'][0].argmax() in (0, 3)
    torch.testing.assert_close(found['likeness'][0, [0, 3]], torch.ones(2))
    torch.testing.assert_close(found['nearest'][0, [0, 3]], torch.ones(2))
    assert (found['nearest'][0, 1:3] < 0.9).all()


def test_ages_do_not_depend_on_the_cadence():
    memory = SlotMemory(SLOTS, FeatureSelector(8), gates=[EmptyFirst()]).eval()
    ages = []
    for every in (1, 5):
        state = memory.init(make_entry())
        for step in range(3):
            state = memory.write(state, make_entry(step))
            state = dataclasses.replace(state, step=(step + 1) * every)
        ages.append(memory.selector.features(state, make_entry(9))[..., FEATURES.index('age')])
    torch.testing.assert_close(*ages)


def test_objects_with_their_own_keys_are_described_each():
    covered = [(2, 0), (0, 3), (1, 0), (0, 0)]
    found, _ = features([entry_of(i, c, groups=2) for i, c in enumerate(covered)])
    assert found['shows_none'].tolist() == [[0, 1, 0, 1], [1, 0, 1, 1]]
    assert found['alone'].tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]


def test_before_it_has_learned_it_drops_the_oldest():
    entries = [entry_of(i, (1,)) for i in range(9)]
    queries = [make_query(i) for i in range(9)]
    learned = SlotMemory(SLOTS, FeatureSelector(), gates=[EmptyFirst()]).eval()
    with torch.no_grad():
        learned.selector.network[-1].weight.zero_()
    state, _ = run(learned, entries, queries)
    other, _ = run(SlotMemory(SLOTS, FIFOSelector()).eval(), entries, queries)
    assert sorted(state.written_at.flatten().tolist()) == sorted(other.written_at.flatten().tolist())


def test_notes_are_the_same_with_and_without_gradients():
    memory = SlotMemory(SLOTS, FeatureSelector(8)).eval()
    entries = [entry_of(i, (i % 3, 2)) for i in range(7)]
    first, _ = run(memory, entries)
    with torch.enable_grad():
        second, _ = run(memory, entries)
    torch.testing.assert_close(first.notes, second.notes)
    torch.testing.assert_close(first.sightings, second.sightings)
    assert first.sightings[0].tolist() == [[4, 5], [7, 6]]


def test_objects_that_join_and_leave_have_notes():
    memory = SlotMemory(SLOTS, FeatureSelector(8)).eval()
    state, _ = run(memory, [entry_of(i, (1,)) for i in range(4)])
    state = memory.write(memory.add_objects(state, 1), entry_of(4, (1, 2)))
    assert state.notes.shape == (1, 2, SLOTS, 4) and state.sightings.shape == (1, 2, 2)
    state = memory.remove_objects(state, [0])
    assert state.sightings.tolist() == [[[1, 4]]]


def test_a_state_of_another_memory_is_refused():
    state, _ = run(SlotMemory(SLOTS, FIFOSelector()).eval(), [make_entry()])
    with pytest.raises(ValueError, match='which only a memory with it keeps'):
        FeatureSelector()(state, make_entry())


@torch.enable_grad()
def test_it_learns_from_readouts_of_a_clip():
    torch.manual_seed(0)
    memory = SlotMemory(SLOTS, FeatureSelector(8), train_slots=2).train()
    entries = [entry_of(i, (1, i % 3)) for i in range(7)]
    _, readouts = run(memory, entries, [make_query(i) for i in range(7)], seeds=(0,))
    torch.stack(readouts).square().sum().backward()
    assert all(parameter.grad is not None for parameter in memory.selector.parameters())
    assert memory.selector.network[-1].weight.grad.abs().sum() > 0
