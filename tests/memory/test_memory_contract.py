"""What every memory of bounded size promises, whatever it is; a new one is tested as soon as it is in
MEMORIES."""

import copy
import dataclasses
import json

import pytest
import torch
from helpers.absent_gpu import devices_of_a_stream
from helpers.bounded_memories import BOUNDED, SETTINGS, name_of
from helpers.memory_cases import (
    KEY,
    VALUE,
    assert_close,
    assert_equal_states,
    build_memory,
    crop,
    full_clip,
    join,
    rows_of,
    run,
)

from mmstremn.memory import (
    MEMORIES,
    Entry,
    FIFOSelector,
    Query,
    SlotMemory,
)
from mmstremn.memory.published.blended import BlendedMemory

TRAIN_OTHERWISE = [SETTINGS['RecurrentEmbeddingMemory'][1], SETTINGS['TwoLevelMemory'][1]]
# An object that appears mid-video is remembered as if the video began with it, not as one more in what is
# held.
STARTS_ANEW = (
    'BlendedMemory',
    'RecurrentEmbeddingMemory',
    'GraphMemory',
    'GlobalContextMemory',
    'GatedLinearMemory',
    'ConvLSTMMemory',
    'STLSTMMemory',
    'E3DLSTMMemory',
)
BIRTH = 5


def check_rows_are_independent(memory):
    entries, queries = full_clip(batch=3, objects=2, prompted=(0, 4))
    with torch.no_grad():
        state, together = run(memory, entries, queries)
        for row in range(3):
            part = slice(row, row + 1)
            own, alone = run(memory, crop(entries, part), rows_of(queries, part))
            assert_close(torch.stack(together)[:, part], torch.stack(alone))
            assert_equal_states(own, state.map(lambda t, part=part: t[part]), 1e-5)


def check_objects_are_independent(memory):
    entries, queries = full_clip(objects=3, prompted=(0, 4))
    with torch.no_grad():
        _, together = run(memory, entries, queries)
        for one in range(3):
            part = slice(one, one + 1)
            _, alone = run(memory, crop(entries, objects=part), queries)
            assert_close(torch.stack(together)[:, :, part], torch.stack(alone))


def check_a_new_object_disturbs_nobody_and_does_not_know_the_past(memory):
    for prompted in ((0,), (0, BIRTH)):
        entries, queries = full_clip(objects=3, prompted=prompted)
        readouts, state = join(memory, entries, queries, BIRTH)
        assert state.births == (0, BIRTH, BIRTH)
        without, _ = join(memory, crop(entries, objects=slice(1)), queries, BIRTH)
        assert_close(readouts[:, :, :1], without)
        other, _ = join(memory, entries, queries, BIRTH, past=lambda value: 100 + value)
        assert_close(readouts[:, :, 1:], other[:, :, 1:])
        assert (readouts - other)[:, :, 0].abs().max() > 1e-4


def check_objects_join_one_by_one_or_together(memory):
    entries, queries = full_clip(6)
    with torch.no_grad():
        state, _ = run(memory, entries, queries)
        together = memory.add_objects(state.clone(), 2)
        assert_equal_states(memory.add_objects(memory.add_objects(state, 1), 1), together)


def check_bytes_stay_the_same(memory):
    entries, queries = full_clip(7, batch=2, objects=3)
    with torch.no_grad():
        state, sizes = memory.init(entries[0]), set()
        for index in range(50):
            sizes.add(state.nbytes)
            state = memory.write(state, entries[index % 7])
            readout, state = memory.read(state, queries[index % 7])
    assert sizes == {state.nbytes}
    assert all(tensor.isfinite().all() for tensor in [readout, *state.tensors().values()])


def check_training_equals_evaluation(memory):
    entries, queries = full_clip(batch=2, objects=2, prompted=(0, 4))
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained.map(torch.Tensor.detach), evaluated, 1e-6)
    assert_close(torch.stack(train_readouts), torch.stack(readouts), 1e-6)


def check_gradients(memory):
    """They reach every parameter, the keys and values of the first frame, and the queries."""
    entries, queries = full_clip(6, objects=2)
    leaves = dict(memory.train().named_parameters(), first_key=entries[0].key, first_value=entries[0].value)
    leaves |= {f'query {index}': query.key for index, query in enumerate(queries) if index}
    for leaf in leaves.values():
        leaf.requires_grad_()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None and leaf.grad.isfinite().all() and leaf.grad.abs().max() > 0, name


def check_a_reloaded_state_goes_on(memory):
    entries, queries = full_clip(objects=2)
    with torch.no_grad():
        state, _ = run(memory, entries[:7], queries[:7])
        assert type(state) is memory.state_class
        json.dumps(state.plain())
        loaded = type(state)(
            **{n: t.clone().contiguous() for n, t in state.tensors().items()}, **state.plain()
        )
        for entry, query in zip(entries[7:], queries[7:], strict=True):
            (one, state), (other, loaded) = memory.read(state, query), memory.read(loaded, query)
            assert torch.equal(one, other)
            state, loaded = memory.write(state, entry), memory.write(loaded, entry)
    assert_equal_states(state, loaded)


def check_a_fork_is_left_alone(memory):
    entries, queries = full_clip()
    with torch.no_grad():
        state, _ = run(memory, entries[:10], queries)
        fork, kept = state.clone(), copy.deepcopy(state)
        for entry, query in zip(entries[10:], queries[10:], strict=True):
            _, state = memory.read(state, query)
            state = memory.write(state, entry)
    assert_equal_states(fork, kept)


def check_with_gradients_a_write_leaves_the_given_state_alone(memory):
    entries, queries = full_clip(9)
    state, _ = run(memory.train(), entries[:8], queries)
    kept = state.clone()
    memory.write(state, entries[8])
    assert_equal_states(state, kept)


def check_the_readout_has_the_type_of_the_values(memory):
    entries, queries = full_clip(6, objects=2)
    for entry in entries:
        entry.key, entry.value, entry.shrinkage = (
            t.bfloat16() for t in (entry.key, entry.value, entry.shrinkage)
        )
    for query in queries:
        query.key, query.selection = query.key.bfloat16(), query.selection.bfloat16()
    full = [
        dataclasses.replace(e, key=e.key.float(), value=e.value.float(), shrinkage=e.shrinkage.float())
        for e in entries
    ]
    with torch.no_grad():
        _, expected = run(memory, full, [Query(q.key.float(), q.selection.float()) for q in queries])
        for autocast in (False, True):
            with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
                before = memory.init(entries[0])
                state, readouts = run(memory, entries, queries)
            assert {n: (t.dtype, t.shape) for n, t in state.tensors().items()} == {
                n: (t.dtype, t.shape) for n, t in before.tensors().items()
            }
            assert all(readout.dtype == torch.bfloat16 for readout in readouts)
            if not isinstance(memory, BlendedMemory):  # which keeps an average in float32
                stored = [getattr(state, name) for name in ('key', 'value') if hasattr(state, name)]
                assert all(tensor.dtype == torch.bfloat16 for tensor in stored)
            assert_close(readouts[-1].float(), expected[-1], 0.05)


def check_any_grid(memory):
    """Without the extras that only some models give."""
    for grid in [(1, 1), (1, 3), (3, 2), (3, 5)]:
        positions = grid[0] * grid[1]
        g = torch.Generator().manual_seed(0)
        entries, queries = [], []
        for _ in range(14):
            key, value = (
                torch.randn(1, 1, positions, KEY, generator=g),
                torch.randn(1, 2, positions, VALUE, generator=g),
            )
            entries.append(Entry(key, value, grid, 1 + torch.rand(1, 1, positions, generator=g)))
            queries.append(Query(key[:, 0], torch.rand(1, positions, KEY, generator=g)))
        with torch.no_grad():
            state, readouts = run(memory, entries, queries)
        assert state.grid == grid
        assert torch.stack(readouts).shape == (13, 1, 2, positions, VALUE)
        assert torch.stack(readouts).isfinite().all()


def check_what_it_makes_is_on_the_device_of_its_entries(memory):
    entries, queries = full_clip(8, objects=2, prompted=(0, 4))
    for training in (False, True):
        assert devices_of_a_stream(memory.train(training), entries, queries) == {'cuda'}


def check_it_differs_from_fifo(memory):
    entries, queries = full_clip(extras=False)
    with torch.no_grad():
        _, readouts = run(memory, entries, queries)
        _, fifo = run(SlotMemory(3, FIFOSelector()).eval(), entries, queries)
    assert (readouts[-1] - fifo[-1]).abs().max() > 1e-2


def check_a_new_object_is_remembered_as_if_the_video_began_with_it(memory):
    """And the others as if it had never come; the schedule of frames counts from its first."""
    entries, queries = full_clip(20, batch=2, objects=3, extras=False)
    with torch.no_grad():
        readouts, _ = join(memory, entries, queries, 7)
        _, fresh = run(memory, crop(entries[7:], objects=slice(1, 3)), queries[7:])
        _, without = run(memory, crop(entries, objects=slice(1)), queries)
    assert_close(readouts[:, :, 1:], torch.stack(fresh))
    assert_close(readouts[:, :, :1], torch.stack(without[7:]))


CHECKS = [
    check_rows_are_independent,
    check_objects_are_independent,
    check_a_new_object_disturbs_nobody_and_does_not_know_the_past,
    check_objects_join_one_by_one_or_together,
    check_bytes_stay_the_same,
    check_training_equals_evaluation,
    check_gradients,
    check_a_reloaded_state_goes_on,
    check_a_fork_is_left_alone,
    check_with_gradients_a_write_leaves_the_given_state_alone,
    check_the_readout_has_the_type_of_the_values,
    check_any_grid,
    check_what_it_makes_is_on_the_device_of_its_entries,
    check_it_differs_from_fifo,
]


@pytest.mark.parametrize('check', CHECKS, ids=name_of)
@pytest.mark.parametrize(('memory_class', 'settings'), BOUNDED, ids=name_of)
def test_contract(memory_class, settings, check):
    if check is check_training_equals_evaluation and settings in TRAIN_OTHERWISE:
        pytest.skip('in training it aggregates every frame, or reads all positions')
    check(build_memory(memory_class, **settings))


@pytest.mark.parametrize(
    ('memory_class', 'settings'), [c for c in BOUNDED if c[0].__name__ in STARTS_ANEW], ids=name_of
)
def test_memories_that_start_anew(memory_class, settings):
    check_a_new_object_is_remembered_as_if_the_video_began_with_it(build_memory(memory_class, **settings))


def test_the_names_of_settings_are_those_of_memories():
    assert {*SETTINGS, *STARTS_ANEW} <= {memory_class.__name__ for memory_class in MEMORIES}


# The checks themselves: memories that break one promise each.


class Faithful(BlendedMemory):
    """It keeps every promise."""

    def __init__(self):
        super().__init__(momentum=0.8)


class MixesRows(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout + readout.mean(0, keepdim=True), state


class MixesObjects(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout + readout.mean(1, keepdim=True), state


class TellsNewObjectsThePast(Faithful):
    def write(self, state, entry):
        after = super().write(state, entry)
        return dataclasses.replace(
            after, value=torch.cat([after.value[:, :1], after.value[:, 1:] + state.value[:, :1]], 1)
        )


class IsDisturbedByNewObjects(Faithful):
    def add_objects(self, state, number):
        state = super().add_objects(state, number)
        return dataclasses.replace(state, value=state.value / 2)


class CountsHowOftenObjectsJoined(Faithful):
    def add_objects(self, state, number):
        state = super().add_objects(state, number)
        return dataclasses.replace(state, key=state.key + 1)


class Grows(Faithful):
    def write(self, state, entry):
        state = super().write(state, entry)
        key, value = (torch.cat([tensor, tensor[:, :, -1:]], 2) for tensor in (state.key, state.value))
        return dataclasses.replace(state, key=key, value=value)


class WritesOtherwiseInTraining(Faithful):
    def write(self, state, entry):
        louder = dataclasses.replace(entry, value=1.001 * entry.value)
        return super().write(state, louder if torch.is_grad_enabled() else entry)


class HasAnIdleWeight(Faithful):
    def __init__(self):
        super().__init__()
        self.idle = torch.nn.Parameter(torch.ones(()))


class RemembersInTheModule(Faithful):
    def write(self, state, entry):
        before = getattr(self, 'before', entry.value)
        self.before = entry.value
        return super().write(state, dataclasses.replace(entry, value=entry.value + before))


class ChangesWhatItIsGiven(Faithful):
    def write(self, state, entry):
        after = super().write(state, entry)
        state.value.data.copy_(after.value)
        return after


class ShallowState(BlendedMemory.state_class):
    def clone(self):
        return dataclasses.replace(self)


class ForksInNameOnly(ChangesWhatItIsGiven):
    def init(self, entry, seeds=None):
        return ShallowState(**vars(super().init(entry, seeds)))


class ReadsInFloat(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout.float(), state


class WantsRows(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout / (state.grid[0] - 1), state


class AnswersOnTheHost(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout.to('cpu', non_blocking=True), state


class WaitsForACopy(Faithful):
    def read(self, state, query):
        readout, state = super().read(state, query)
        return readout * readout.new_tensor([2.0]), state


BREAKS = [
    (check_rows_are_independent, MixesRows),
    (check_objects_are_independent, MixesObjects),
    (check_a_new_object_disturbs_nobody_and_does_not_know_the_past, TellsNewObjectsThePast),
    (check_a_new_object_disturbs_nobody_and_does_not_know_the_past, IsDisturbedByNewObjects),
    (check_a_new_object_is_remembered_as_if_the_video_began_with_it, TellsNewObjectsThePast),
    (check_a_new_object_is_remembered_as_if_the_video_began_with_it, IsDisturbedByNewObjects),
    (check_objects_join_one_by_one_or_together, CountsHowOftenObjectsJoined),
    (check_bytes_stay_the_same, Grows),
    (check_training_equals_evaluation, WritesOtherwiseInTraining),
    (check_gradients, HasAnIdleWeight),
    (check_a_reloaded_state_goes_on, RemembersInTheModule),
    (check_a_fork_is_left_alone, ForksInNameOnly),
    (check_with_gradients_a_write_leaves_the_given_state_alone, ChangesWhatItIsGiven),
    (check_the_readout_has_the_type_of_the_values, ReadsInFloat),
    (check_any_grid, WantsRows),
    (check_what_it_makes_is_on_the_device_of_its_entries, AnswersOnTheHost),
    (check_what_it_makes_is_on_the_device_of_its_entries, WaitsForACopy),
    (check_it_differs_from_fifo, lambda: SlotMemory(3, FIFOSelector())),
]


@pytest.mark.parametrize(('check', 'broken'), BREAKS, ids=name_of)
def test_a_check_sees_what_is_broken(check, broken):
    check(Faithful().eval())
    with pytest.raises(AssertionError):
        check(broken().eval())


def test_every_check_is_checked():
    assert set(CHECKS) <= {check for check, _ in BREAKS}
