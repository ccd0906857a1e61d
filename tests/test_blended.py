"""The blended memory: averages, what they lose, and the checks that the fixed memories share."""

import dataclasses

import pytest
import torch
from memory_cases import KEY, POSITIONS, VALUE, assert_equal_states, make_entry, make_query, run, take

from mmstremn.memory import DenseReader, Entry, FIFOSelector, Query, SlotMemory
from mmstremn.memory.blended import BlendedMemory, CohortState

BYTES = 4  # float32


def build(**kwargs) -> BlendedMemory:
    return BlendedMemory(**kwargs).eval()


def clip(length=6, **kwargs):
    batch = kwargs.get('batch', 1)
    return [make_entry(i, **kwargs) for i in range(length)], [make_query(i, batch) for i in range(length)]


def assert_close(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def check_rows_are_independent(memory):
    entries, queries = clip(9, batch=3, objects=2)
    with torch.no_grad():
        _, together = run(memory, entries, queries)
        for row in range(3):
            part = slice(row, row + 1)
            _, alone = run(memory, [take(e, part) for e in entries], [Query(q.key[part]) for q in queries])
            assert_close(torch.stack(together)[:, part], torch.stack(alone))


def check_objects_are_independent(memory):
    entries, queries = clip(9, objects=3)
    with torch.no_grad():
        _, together = run(memory, entries, queries)
        for one in range(3):
            part = slice(one, one + 1)
            _, alone = run(memory, [take(e, objects=part) for e in entries], queries)
            assert_close(torch.stack(together)[:, :, part], torch.stack(alone))


def check_an_object_from_mid_video_on(memory, birth=7, length=20):
    """It is read as if the video began with it, and the others as if it had never come."""
    entries, queries = clip(length, batch=2, objects=3)
    old, new = slice(0, 1), slice(1, 3)
    with torch.no_grad():
        state, readouts = run(memory, [take(e, objects=old) for e in entries[:birth]], queries[:birth])
        before = state.clone()
        state = memory.add_objects(memory.add_objects(state, 1), 1)  # one by one or together: the same
        assert_equal_states(state, memory.add_objects(before, 2))
        assert state.births == (0, birth, birth)
        for index in range(birth, length):
            if index > birth:
                readout, state = memory.read(state, queries[index])
                readouts.append(readout)
            state = memory.write(state, entries[index])
        _, without = run(memory, [take(e, objects=old) for e in entries], queries)
        _, fresh = run(memory, [take(e, objects=new) for e in entries[birth:]], queries[birth:])
    late = torch.stack(readouts[birth - 1 :])
    assert_close(late[:, :, new], torch.stack(fresh))
    assert_close(torch.stack([r[:, old] for r in readouts]), torch.stack(without[: birth - 1] + without[birth:]))


def check_bytes_stay_the_same(memory):
    with torch.no_grad():
        state = memory.write(memory.init(make_entry()), make_entry())
        size = state.nbytes
        for index in range(50):
            state = memory.write(state, make_entry(index % 7))
            assert state.nbytes == size
    assert torch.stack([t.float().abs().max() for t in state.tensors().values()]).isfinite().all()


def check_training_equals_evaluation(memory):
    entries, queries = clip(9, batch=2, objects=2)
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained.map(torch.Tensor.detach), evaluated, 1e-6)
    assert_close(torch.stack(train_readouts), torch.stack(readouts), 1e-6)


def check_gradients(memory):
    """They reach every parameter, the keys and values of the first frame, and the queries."""
    entries, queries = clip(6, objects=2)
    leaves = [*memory.train().parameters(), entries[0].key, entries[0].value, *(q.key for q in queries[1:])]
    for leaf in leaves:
        leaf.requires_grad_()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() and leaf.grad.abs().max() > 0 for leaf in leaves)


def check_a_reloaded_state_goes_on(memory):
    entries, queries = clip(12, objects=2)
    with torch.no_grad():
        state, _ = run(memory, entries[:7], queries[:7])
        loaded = type(state)(**state.clone().tensors(), **state.plain())
        assert type(state) is memory.state_class
        for index in range(7, 12):
            one, state = memory.read(state, queries[index])
            other, loaded = memory.read(loaded, queries[index])
            assert torch.equal(one, other)
            state, loaded = memory.write(state, entries[index]), memory.write(loaded, entries[index])
    assert_equal_states(state, loaded)


def check_any_grid(memory):
    for grid in [(1, 1), (1, 3), (3, 2)]:
        positions = grid[0] * grid[1]
        with torch.no_grad():
            entry = Entry(torch.randn(1, 1, positions, KEY), torch.randn(1, 2, positions, VALUE), grid)
            _, readouts = run(memory, [entry] * 4, [Query(torch.randn(1, positions, KEY))] * 4)
        assert readouts[-1].shape == (1, 2, positions, VALUE)
        assert torch.stack(readouts).isfinite().all()


def check_the_readout_has_the_type_of_the_values(memory):
    entries, queries = clip(4, dtype=torch.bfloat16)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        _, readouts = run(memory, entries, queries)
        full = [dataclasses.replace(e, key=e.key.float(), value=e.value.float()) for e in entries]
        _, expected = run(memory, full, [Query(q.key) for q in queries])
    assert readouts[-1].dtype == torch.bfloat16
    assert_close(readouts[-1].float(), expected[-1], 0.05)


def check_it_differs_from_fifo(memory):
    entries, queries = clip(8)
    with torch.no_grad():
        _, readouts = run(memory, entries, queries)
        _, fifo = run(SlotMemory(3, FIFOSelector()).eval(), entries, queries)
    assert (readouts[-1] - fifo[-1]).abs().max() > 1e-2


def check_a_fork_is_left_alone(memory):
    entries, _ = clip(6)
    with torch.no_grad():
        state, _ = run(memory, entries[:4])
        fork, copy = state.clone(), state.clone()
        memory.write(memory.write(state, entries[4]), entries[5])
    assert_equal_states(fork, copy)


CHECKS = pytest.mark.parametrize(
    'check',
    [
        check_rows_are_independent,
        check_objects_are_independent,
        check_an_object_from_mid_video_on,
        check_bytes_stay_the_same,
        check_training_equals_evaluation,
        check_gradients,
        check_a_reloaded_state_goes_on,
        check_any_grid,
        check_the_readout_has_the_type_of_the_values,
        check_it_differs_from_fifo,
        check_a_fork_is_left_alone,
    ],
)


@CHECKS
@pytest.mark.parametrize('momentum', [None, 0.8])
def test_contract(check, momentum):
    check(build(momentum=momentum))


def test_bytes():
    state = build().init(make_entry(batch=2, objects=3))
    b, o, k = 2, 3, 1
    assert state.nbytes == BYTES * b * POSITIONS * (k * KEY + o * VALUE)


def test_the_slot_is_the_mean_of_all_frames():
    entries, _ = clip(7, batch=2, objects=2)
    with torch.no_grad():
        state, _ = run(build(), entries)
    assert_close(state.key[:, :, 0].double(), torch.stack([e.key.double() for e in entries]).mean(0))
    assert_close(state.value[:, :, 0].double(), torch.stack([e.value.double() for e in entries]).mean(0))


def test_the_slot_with_momentum():
    entries, _ = clip(7, objects=2)
    with torch.no_grad():
        state, _ = run(build(momentum=0.9), entries)
    expected = entries[0].value.double()
    for entry in entries[1:]:
        expected = 0.9 * expected + 0.1 * entry.value.double()
    assert_close(state.value[:, :, 0].double(), expected)


def test_without_momentum_only_the_last_frame_stays():
    entries, _ = clip(4)
    with torch.no_grad():
        state, _ = run(build(momentum=0.0), entries)
    assert_close(state.value[:, :, 0], entries[-1].value)


def test_the_readout_is_the_dense_readers_on_the_mean():
    entries, queries = clip(5, objects=2)
    with torch.no_grad():
        _, readouts = run(build(), entries, queries)
    key = torch.stack([e.key for e in entries[:4]]).mean(0)
    value = torch.stack([e.value for e in entries[:4]]).mean(0)
    for one in range(2):
        expected, _ = DenseReader()(queries[4], key[:, :, None], None, value[:, one, None, None], torch.ones(1, 1, 1) > 0)
        assert_close(readouts[-1][:, one], expected[:, 0])


def test_two_looks_blend_into_neither():
    """The strawman: seen in two ways, the object is remembered as something between. Slots keep both."""

    def look(number):
        """The key of frame ``number`` is far from the other's; its value is 1 or -1."""
        key = torch.full((1, 1, POSITIONS, KEY), 20.0 * number)
        return Entry(key, torch.full((1, 1, POSITIONS, VALUE), 1.0 - 2 * number), (2, 2))

    def recall(memory):
        with torch.no_grad():
            state, _ = run(memory, [look(0), look(1)])
            return [memory.read(state, Query(look(number).key[:, 0]))[0].mean().item() for number in range(2)]

    assert recall(SlotMemory(3, FIFOSelector()).eval()) == pytest.approx([1, -1])
    assert recall(build()) == pytest.approx([0, 0])


def test_small_changes_are_not_lost_in_a_long_video_of_half_precision():
    """The mean is kept in float32: in bfloat16 the 400th frame would change nothing."""
    with torch.no_grad():
        state = build().init(make_entry(dtype=torch.bfloat16))
        for index in range(600):
            entry = make_entry(0, dtype=torch.bfloat16)
            entry.value.fill_(float(index >= 300))
            state = build().write(state, entry)
    assert_close(state.value, torch.full_like(state.value, 0.5))


@pytest.mark.parametrize('momentum', [-0.1, 1.0, 2])
def test_nonsense_is_refused(momentum):
    with pytest.raises(ValueError, match=rf'BlendedMemory\.momentum .* got {momentum}'):
        BlendedMemory(momentum=momentum)


def test_cohorts():
    state = CohortState.empty(make_entry(objects=2), 3)
    assert state.cohorts == [(0, slice(0, 2))]
    state = dataclasses.replace(state, step=4).add_objects(1, False).add_objects(2, False)
    assert state.cohorts == [(0, slice(0, 2)), (4, slice(2, 5))]
    assert state.key.shape == (1, 2, 3, POSITIONS, KEY)
    assert state.value.shape == (1, 5, 3, POSITIONS, VALUE)
