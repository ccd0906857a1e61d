"""Growing memories: STM's and STCN's schedules, doubling, objects that appear later."""

import pytest
import torch
from helpers.memory_cases import POSITIONS, assert_equal_states, make_entry, make_query, run

from mmstremn.memory import (
    DenseReader,
    DotAffinity,
    FIFOSelector,
    GrowingMemory,
    Query,
    SlotMemory,
    TopKReader,
)


def stm(**kwargs):
    return GrowingMemory(DenseReader(DotAffinity()), keep_last=True, **kwargs).eval()


def stcn(**kwargs):
    return GrowingMemory(**kwargs).eval()


def history(memory, length=12, prompted=()):
    """The frames that are readable after each frame."""
    entries, steps = [make_entry(i, prompted=i in prompted) for i in range(length)], []
    with torch.no_grad():
        state = memory.init(entries[0])
        for index, entry in enumerate(entries):
            if index:
                _, state = memory.read(state, make_query(index))
            state = memory.write(state, entry)
            steps.append(state.written_at[0, 0, : state.in_use].tolist())
    return steps


def test_stcn_keeps_every_fifth_frame():
    assert history(stcn(), 16) == [[i for i in range(0, t + 1, 5)] for t in range(16)]


def test_stm_keeps_every_fifth_frame_and_reads_the_previous():
    expected = [sorted({*range(0, t + 1, 5), t}) for t in range(16)]
    assert history(stm(), 16) == expected


@pytest.mark.parametrize('every', [1, 3])
def test_another_rhythm(every):
    assert history(stcn(every=every), 10)[-1] == list(range(0, 10, every))


def test_prompted_frames_are_kept_for_good():
    assert history(stcn(), 9, prompted=(0, 3))[-1] == [0, 3, 5]
    assert history(stm(), 9, prompted=(0, 3))[-1] == [0, 3, 5, 8]


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'GrowingMemory\.every must be at least 1, got 0'):
        GrowingMemory(every=0)


@pytest.mark.parametrize('memory', [stm, stcn])
def test_what_is_read_is_what_is_held(memory):
    """The readout equals the reader's on the kept entries themselves, also after several doublings."""
    memory, length = memory(), 43
    entries = [make_entry(i, objects=2) for i in range(length)]
    with torch.no_grad():
        state, _ = run(memory, entries)
        readout, after = memory.read(state, make_query())
    held = state.written_at[0, 0, : state.in_use].tolist()
    key = torch.stack([entries[i].key for i in held], 2)
    value = torch.stack([entries[i].value for i in held], 2)
    torch.testing.assert_close(state.key[:, :, : state.in_use], key, rtol=0, atol=0)
    torch.testing.assert_close(state.value[:, :, : state.in_use], value, rtol=0, atol=0)
    usable = torch.ones(1, 1, len(held), dtype=torch.bool)
    for index in range(2):
        expected, share = memory.reader(make_query(), key, None, value[:, index : index + 1], usable)
        torch.testing.assert_close(readout[:, index], expected[:, 0])
        torch.testing.assert_close((after.hits - state.hits)[..., : len(held)], share)
    assert (after.hits[..., len(held) :] == 0).all()


def test_capacity_doubles_and_keeps_the_contents():
    memory = stcn(every=1)
    sizes = []
    with torch.no_grad():
        state = memory.init(make_entry())
        for index in range(9):
            state = memory.write(state, make_entry(index))
            sizes.append(state.num_slots)
            for slot in range(index + 1):
                assert torch.equal(state.key[:, :, slot], make_entry(slot).key)
    assert sizes == [1, 2, 4, 4, 8, 8, 8, 8, 16]
    assert (state.written_at[0, 0, 9:] == -1).all()


@pytest.mark.parametrize('with_gradients', [False, True])
def test_a_frame_in_the_temporary_slot_begins_unused(with_gradients):
    """What the frame before it drew there does not count for it."""
    memory = stm()
    with torch.set_grad_enabled(with_gradients):
        state = memory.init(make_entry())
        for index in range(4):
            state = memory.write(state, make_entry(index))
            slot = state.in_use - 1
            assert state.written_at[0, 0, slot] == index
            assert (state.hits[0, 0, slot], state.read_at[0, 0, slot]) == (0, -1)
            first = state.hits[0, 0, 0].clone()
            query = Query(make_entry(index).key[:, 0])  # most like the frame just written
            _, state = memory.read(state, query)
            assert state.hits[0, 0, slot] > 0
            assert index == 0 or state.hits[0, 0, 0] > first
    assert slot == 1
    assert state.read_at[0, 0, slot] == 4


def test_bytes_grow_with_the_video():
    memory = stcn()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i) for i in range(3)])
        early = state.nbytes
        for index in range(3, 500):
            state = memory.write(state, make_entry(index % 13))
    assert state.kept == 100
    assert state.nbytes >= 100 * early


def test_training_stores_all():
    memory = stm().train()
    state, _ = run(memory, [make_entry(i) for i in range(7)])
    assert state.written_at[0, 0, : state.in_use].tolist() == list(range(7))
    assert not state.temporary


@pytest.mark.parametrize('own_keys', [False, True])
@pytest.mark.parametrize('shrinkage', [False, True])
def test_training_and_evaluation_write_equal_states(own_keys, shrinkage):
    """With every frame stored the schedules are equal."""
    memory = GrowingMemory(DenseReader(), every=1, per_object_key=own_keys)
    kwargs = dict(batch=2, objects=2, groups=2 if own_keys else 1, shrinkage=shrinkage)
    entries, queries = [make_entry(i, **kwargs) for i in range(6)], [make_query(i, 2) for i in range(6)]
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained, evaluated, 1e-6)
    torch.testing.assert_close(torch.stack(train_readouts), torch.stack(readouts), rtol=0, atol=1e-6)


def test_training_without_gradients_writes_the_same():
    """As validation with the loss would: the schedule of training, the buffers of evaluation."""
    memory = GrowingMemory(DenseReader(), keep_last=True).train()
    entries = [make_entry(i) for i in range(7)]
    with torch.no_grad():
        one, _ = run(memory, entries)
    assert_equal_states(one, run(memory, entries)[0], 1e-6)


def test_gradients_reach_every_stored_frame():
    memory = stcn().train()
    entries = [make_entry(i) for i in range(6)]
    for entry in entries:
        entry.value.requires_grad_()
        entry.key.requires_grad_()
    state, _ = run(memory, entries)
    memory.read(state, make_query())[0].square().sum().backward()
    assert all(entry.value.grad.abs().max() > 0 and entry.key.grad.abs().max() > 0 for entry in entries)


@pytest.mark.parametrize('build', [stm, stcn])
@pytest.mark.parametrize('own_keys', [False, True])
def test_a_new_object_reads_only_what_was_written_since(build, own_keys):
    memory, length = build(per_object_key=own_keys), 13
    groups = 2 if own_keys else 1
    whole = [make_entry(i, objects=2, groups=groups, prompted=i in (0, 7)) for i in range(length)]

    def join(past):
        with torch.no_grad():
            state, _ = run(memory, [make_entry(past + i) for i in range(7)])
            state, readouts = memory.add_objects(state, 1), []
            for index in range(7, length):
                if index > 7:
                    readout, state = memory.read(state, make_query(index))
                    readouts.append(readout)
                state = memory.write(state, whole[index])
        return state, torch.stack(readouts)

    state, readouts = join(0)
    _, other = join(100)
    assert state.births == (0, 7)
    assert 7 in state.written_at[0, 0].tolist()
    torch.testing.assert_close(readouts[:, :, 1], other[:, :, 1])
    assert (readouts[:, :, 0] - other[:, :, 0]).abs().max() > 1e-3
    first = whole[7].value[0, 1]
    alone = memory.reader(
        make_query(8), whole[7].key[:, -1:, None], None, first[None, None, None], torch.ones(1, 1, 1) > 0
    )
    torch.testing.assert_close(readouts[0, :, 1], alone[0][0])


def test_clone_forks():
    memory = stcn(every=1)
    with torch.no_grad():
        state, _ = run(
            memory, [make_entry(i) for i in range(3)]
        )  # 3 of 4 places: the next write needs no new buffer
        fork = state.clone()
        memory.write(state, make_entry(50))
        assert torch.equal(fork.key[:, :, 3], torch.zeros(1, 1, POSITIONS, 3))


def test_equal_to_slots_while_nothing_is_dropped():
    """The two memories agree where they must."""
    entries, queries = [make_entry(i) for i in range(6)], [make_query(i) for i in range(6)]
    with torch.no_grad():
        slots = run(SlotMemory(6, FIFOSelector()).eval(), entries, queries)[1]
        growing = run(GrowingMemory(DenseReader(), every=1).eval(), entries, queries)[1]
    torch.testing.assert_close(torch.stack(slots), torch.stack(growing))


def test_defaults_are_those_of_stcn():
    memory = GrowingMemory()
    assert isinstance(memory.reader, TopKReader)
    assert (memory.reader.k, memory.every, memory.keep_last, memory.per_object_key) == (20, 5, False, False)
