"""Fixed slots: the two write paths, objects that appear later, forks, size."""

import dataclasses

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
    SELECTORS,
    AnisotropicL2Affinity,
    DenseReader,
    EmptyFirst,
    FIFOSelector,
    GumbelSelector,
    KeepFirst,
    Selector,
    SlotMemory,
    TopKReader,
)

LENGTH = 9


class Scripted(Selector):
    """Overwrites the slots it is told, step by step; the number of slots stands for skipping."""

    def __init__(self, plan, num_slots):
        super().__init__()
        self.plan, self.num_slots = plan, num_slots

    def forward(self, state, entry):
        logits = torch.zeros(*state.written_at.shape[:2], self.num_slots + 1)
        plan = torch.tensor(self.plan[state.step]).expand(
            state.written_at.shape[:2]
        )  # an int, or one for each sample
        return logits.scatter(-1, plan[..., None], 1.0)


def make_memory(selector=None, num_slots=3, **kwargs):
    return SlotMemory(num_slots, selector or FIFOSelector(), **kwargs)


def stream(length=LENGTH, **kwargs):
    return [make_entry(i, **kwargs) for i in range(length)], [
        make_query(i, kwargs.get('batch', 1)) for i in range(length)
    ]


# The write paths.


@pytest.mark.parametrize('own_keys', [False, True])
@pytest.mark.parametrize('shrinkage', [False, True])
def test_training_and_evaluation_write_equal_states(own_keys, shrinkage):
    """The choices are forced: every slot and skipping occurs, another one for each sample."""
    plan = torch.randint(0, 4, (LENGTH, 2, 1), generator=generator(0)).tolist()
    plan[0] = [[1], [1]]
    reader = DenseReader(AnisotropicL2Affinity() if shrinkage else None)
    memory = make_memory(Scripted(plan, 3), reader=reader, gates=[], per_object_key=own_keys)
    kwargs = dict(batch=2, objects=3, groups=3 if own_keys else 1, shrinkage=shrinkage)
    entries = [make_entry(i, **kwargs) for i in range(LENGTH)]
    queries = [make_query(i, 2, selection=shrinkage) for i in range(LENGTH)]
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained, evaluated, 1e-6)
    assert trained.shrinkage is None or shrinkage
    torch.testing.assert_close(torch.stack(train_readouts), torch.stack(readouts), rtol=0, atol=1e-6)
    stamps = evaluated.written_at
    assert (stamps[0] != stamps[1]).any()
    for sample in range(2):
        for slot in range(3):
            step = stamps[sample, 0, slot]
            if step >= 0:
                torch.testing.assert_close(
                    evaluated.value[sample, :, slot], entries[step].value[sample], rtol=0, atol=0
                )
                torch.testing.assert_close(
                    evaluated.key[sample, :, slot], entries[step].key[sample], rtol=0, atol=0
                )


def test_the_learned_selector_writes_equal_states_in_both_modes():
    """There are gradients in training, but what is written is hard."""
    torch.manual_seed(0)
    memory = make_memory(GumbelSelector(KEY, VALUE, 8)).train()
    entries, queries = stream(batch=3, objects=2)
    trained, _ = run(memory, entries, queries, seeds=(1, 2, 3))
    assert trained.history.kept.requires_grad
    with torch.no_grad():  # the same draws, the other path
        written, _ = run(memory, entries, queries, seeds=(1, 2, 3))
    assert_equal_states(trained, written, 1e-6)


def test_a_key_group_decides_for_all_its_objects():
    memory = make_memory(num_slots=2, per_object_key=False).eval()
    with torch.no_grad():
        state, _ = run(memory, stream(objects=3)[0])
    for slot, stamp in enumerate(state.written_at[0, 0].tolist()):
        torch.testing.assert_close(state.value[0, :, slot], make_entry(stamp, objects=3).value[0])


def test_skipping_changes_nothing_but_the_step():
    memory = make_memory(Scripted([0, 1, 3, 3], 3), gates=[]).eval()
    entries = stream(4)[0]
    with torch.no_grad():
        state, _ = run(memory, entries[:2])
        before = state.clone()
        for entry in entries[2:]:
            state = memory.write(state, entry)
    assert state.step == 4
    assert_equal_states(dataclasses.replace(state, step=2), before)


def test_evaluation_consumes_its_state_and_clone_forks():
    memory = make_memory().eval()
    entries = stream(6)[0]
    with torch.no_grad():
        state, _ = run(memory, entries[:4])
        fork, kept = state.clone(), state.clone()
        pointers = [tensor.data_ptr() for tensor in state.tensors().values()]
        after = memory.write(state, entries[4])
        assert after is state
        assert [tensor.data_ptr() for tensor in after.tensors().values()] == pointers
        assert_equal_states(fork, kept)  # the fork is not touched
        other = memory.write(fork, entries[5])
        assert not torch.equal(other.key, after.key)
        assert torch.equal(after.key, memory.write(kept, entries[4]).key)


def test_training_leaves_its_state_alone():
    memory = make_memory().train()
    entries = stream(4)[0]
    state, _ = run(memory, entries[:3])
    before = state.clone()
    after = memory.write(state, entries[3])
    assert_equal_states(state, before)
    assert after.step == state.step + 1


def test_reading_changes_usage_only():
    memory = make_memory().eval()
    entries, queries = stream(4)
    with torch.no_grad():
        state, _ = run(memory, entries, queries)
        readout, after = memory.read(state, make_query(9))
    assert readout.shape == (1, 1, POSITIONS, VALUE)
    changed = {
        name for name, tensor in after.tensors().items() if not torch.equal(tensor, getattr(state, name))
    }
    assert changed <= {'hits', 'read_at'}
    assert 'hits' in changed
    torch.testing.assert_close((after.hits - state.hits).sum(), torch.tensor(1.0))


def test_empty_slots_are_never_read():
    memory = make_memory(num_slots=5).eval()
    with torch.no_grad():
        state, _ = run(memory, stream(2)[0])
        readout, _ = memory.read(state, make_query())
        small, _ = run(make_memory(num_slots=2).eval(), stream(2)[0])
        expected, _ = make_memory(num_slots=2).eval().read(small, make_query())
    torch.testing.assert_close(readout, expected)
    assert (state.key[:, :, 2:] == 0).all()
    assert state.written_at[0, 0].tolist() == [0, 1, -1, -1, -1]


@pytest.mark.parametrize('selector', SELECTORS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_streams_of_any_type_stay_of_this_type(selector, dtype):
    arguments = dict(key_channels=KEY, value_channels=VALUE) if selector is GumbelSelector else {}
    memory = make_memory(selector(**arguments))
    entries, queries = (
        [make_entry(i, dtype=dtype) for i in range(6)],
        [make_query(i, dtype=dtype) for i in range(6)],
    )
    for training in (False, True):
        with torch.set_grad_enabled(training):
            state, readouts = run(memory.train(training), entries, queries, seeds=(0,))
        assert state.key.dtype == state.value.dtype == readouts[-1].dtype == dtype
        assert torch.stack(readouts).isfinite().all()


# Objects that appear later.


@pytest.mark.parametrize('own_keys', [False, True])
@pytest.mark.parametrize('reader', [DenseReader, TopKReader])
def test_a_new_object_reads_only_what_was_written_since(own_keys, reader):
    """The stream of an object that joins at step 4 equals one that begins there, and the old objects do not
    notice."""
    memory = make_memory(num_slots=3, per_object_key=own_keys, reader=reader()).eval()
    whole, queries = stream(objects=3, groups=3 if own_keys else 1)

    def join(first_part):
        with torch.no_grad():
            state, _ = run(memory, first_part)
            state, readouts = memory.add_objects(state, 1), []
            for index in range(4, LENGTH):
                if index > 4:
                    readout, state = memory.read(state, queries[index])
                    readouts.append(readout)
                state = memory.write(state, whole[index])
        return state, torch.stack(readouts)

    def two(entry, objects=slice(0, 2)):
        return dataclasses.replace(take(entry, objects=objects), prompted=False)

    state, readouts = join([two(entry) for entry in whole[:4]])
    assert state.births == (0, 0, 4)
    other_past = [two(make_entry(100 + i, objects=3, groups=3 if own_keys else 1)) for i in range(4)]
    _, readouts_other = join(other_past)
    torch.testing.assert_close(readouts[:, :, 2], readouts_other[:, :, 2])
    assert (readouts[0, :, :2] - readouts_other[0, :, :2]).abs().max() > 1e-3

    with torch.no_grad():
        _, old_readouts = run(memory, [two(entry) for entry in whole], queries)
    torch.testing.assert_close(readouts[:, :, :2], torch.stack(old_readouts[4:]))
    late = [two(entry, slice(2, 3)) for entry in whole[4:]]
    with torch.no_grad():
        _, late_readouts = run(memory, late, queries[4:])
    torch.testing.assert_close(readouts[:, :, 2:], torch.stack(late_readouts))


def test_valid_says_which_slots_hold_an_object():
    memory = make_memory(num_slots=4).eval()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i) for i in range(2)])
        state = memory.write(memory.add_objects(state, 2), make_entry(2, objects=3))
    assert state.valid.tolist() == [[[True, True, True, False], *[[False, False, True, False]] * 2]]
    assert (state.value[:, 1:, :2] == 0).all()


def test_objects_of_own_keys_have_slots_of_their_own():
    memory = make_memory(num_slots=3, per_object_key=True).eval()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i) for i in range(4)])
        state = memory.write(memory.add_objects(state, 1), make_entry(4, objects=2, groups=2))
    assert state.written_at.tolist() == [[[3, 4, 2], [4, -1, -1]]]
    assert state.valid.tolist() == [[[True, True, True], [True, False, False]]]


# Gradients.


def test_gradients_reach_keys_and_values_that_are_held_only():
    memory = make_memory(num_slots=2).train()
    entries = stream(5)[0]
    for entry in entries:
        entry.key.requires_grad_()
        entry.value.requires_grad_()
    state, _ = run(memory, entries)
    memory.read(state, make_query(9))[0].square().sum().backward()
    reached = [bool((entry.value.grad != 0).any()) for entry in entries]
    assert reached == [False, False, False, True, True]
    assert entries[4].key.grad.abs().max() > 0


# Size.


def test_bytes_and_buffers_stay_the_same():
    memory = make_memory(gates=[EmptyFirst(), KeepFirst()]).eval()
    with torch.no_grad():
        state, _ = run(memory, stream(3)[0])
        size, pointer = state.nbytes, state.key.data_ptr()
        for index in range(3, 500):
            _, state = memory.read(state, make_query(index % 7))
            state = memory.write(state, make_entry(index % 11))
    assert state.step == 500
    assert state.nbytes == size
    assert state.key.data_ptr() == pointer
    expected = 3 * POSITIONS * (KEY + VALUE) * 4 + 3 * (8 + 8 + 4)
    assert size == expected


def test_training_may_use_fewer_slots():
    memory = SlotMemory(5, FIFOSelector(), train_slots=2)
    assert memory.train().init(make_entry()).num_slots == 2
    assert memory.eval().init(make_entry()).num_slots == 5


@pytest.mark.parametrize(
    ('options', 'length', 'number'),
    [
        (dict(), 4, 2),  # the learned selector must choose in a clip
        (dict(), 2, 1),
        (dict(), 9, 5),
        (dict(), None, 5),
        (dict(train_slots=3), 4, 3),
        (dict(selector=FIFOSelector()), 4, 5),
    ],
    ids=str,
)
def test_slots_of_a_training_clip(options, length, number):
    memory, entry = SlotMemory(5, **options), make_entry()
    entry.extras.update({} if length is None else dict(clip_length=length))
    assert memory.train().init(entry).num_slots == number
    with torch.no_grad():
        assert memory.init(entry).num_slots == options.get('train_slots', 5)
    assert memory.eval().init(entry).num_slots == 5


def test_a_memory_builds_from_nothing():
    memory = SlotMemory()
    assert memory.num_slots == 5
    assert isinstance(memory.selector, GumbelSelector)
    assert [type(gate) for gate in memory.gates] == [EmptyFirst]
    assert memory.needs_selection is False
    assert SlotMemory(reader=DenseReader(AnisotropicL2Affinity())).needs_selection is True


def test_no_slots_is_an_error():
    with pytest.raises(ValueError, match=r'SlotMemory\.num_slots must be at least 1, got 0'):
        SlotMemory(0)
