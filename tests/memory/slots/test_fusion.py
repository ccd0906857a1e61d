"""Fusion of what an overwritten slot held into the slots that remain."""

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
    EmptyFirst,
    FIFOSelector,
    GumbelSelector,
    Query,
    Selector,
    SlotMemory,
    SlotState,
)
from mmstremn.memory.slots.fusion import SlotFusion, match
from mmstremn.registry import build

ACTIVE = pytest.mark.parametrize('mode', ['average', 'learned'])
OWN_KEYS = pytest.mark.parametrize('own_keys', [False, True])
LENGTH = 9


def make_fusion(mode='average', threshold=0.3, weight=0.4):
    torch.manual_seed(0)
    return SlotFusion(mode, threshold, weight, VALUE)


def make_memory(fusion, selector=None, **kwargs):
    return SlotMemory(3, selector or FIFOSelector(), fusion=fusion, **kwargs)


def stream(length=LENGTH, **kwargs):
    return [make_entry(i, **kwargs) for i in range(length)], [
        make_query(i, kwargs.get('batch', 1)) for i in range(length)
    ]


class Scripted(Selector):
    """Overwrites the slots it is told, step by step; 3 stands for skipping."""

    def __init__(self, plan):
        super().__init__()
        self.plan = plan

    def forward(self, state, entry):
        plan = torch.tensor(self.plan[state.step]).expand(state.written_at.shape[:2])
        return torch.zeros(*plan.shape, 4).scatter(-1, plan[..., None], 1.0)


def states(**kwargs):
    """A state of three full slots, of which frame 1, 2 and 3 are left."""
    with torch.no_grad():
        return run(make_memory(None).eval(), stream(4, **kwargs)[0])[0]


def overwrite(state, slot):
    """The choice of a slot, 3 for none, in all rows."""
    return torch.eye(4)[slot].expand(*state.written_at.shape[:2], 4)


def gate_amount(gate, own, matched, cosine):
    """The learned gate's formula, for one position."""
    hidden = gate.from_own.weight.double() @ own + gate.from_own.bias.double()
    hidden = hidden + gate.from_matched.weight.double() @ torch.cat([matched, cosine[None]])
    return torch.sigmoid(gate.to_gate.weight[0].double() @ hidden.relu() + gate.to_gate.bias[0].double())


@ACTIVE
@pytest.mark.parametrize('groups', [1, 2])
def test_fusion_is_the_formula(mode, groups):
    state, fusion, leaving = states(batch=2, objects=2, groups=groups), make_fusion(mode), 2
    with torch.no_grad():
        fused = fusion(state, overwrite(state, leaving))
    amounts = []
    for b in range(2):
        for o in range(2):
            keys = state.key[b, o if groups > 1 else 0].double()
            values = state.value[b, o].double()
            for slot in range(3):
                for p in range(POSITIONS):
                    cosine = torch.nn.functional.cosine_similarity(keys[slot, p], keys[leaving], dim=-1)
                    own, matched = values[slot, p], values[leaving, cosine.argmax()]
                    if slot == leaving:
                        amount = 0.0
                    elif mode == 'average':
                        amount = 0.4 * float(cosine.max() > 0.3)
                    else:
                        amount = gate_amount(fusion.gate, own, matched, cosine.max()).item()
                    amounts.append(amount)
                    expected = own + amount * (matched - own)
                    torch.testing.assert_close(fused[b, o, slot, p].double(), expected, rtol=0, atol=1e-5)
    assert len(set(amounts)) > 1


@ACTIVE
def test_what_was_overwritten_lives_on(mode):
    """The same frame but for its values: what was stored and overwritten is still in the readout."""
    query = make_query(9)

    def read(lost, fusion):
        entries = [make_entry(0), lost, make_entry(2), make_entry(3), make_entry(4)]
        with torch.no_grad():
            state, _ = run(make_memory(fusion).eval(), entries)
            return make_memory(fusion).eval().read(state, query)[0]

    lost = make_entry(1)
    other = dataclasses.replace(lost, value=lost.value + 3)
    assert torch.equal(read(lost, None), read(other, None))
    change = read(other, make_fusion(mode)) - read(lost, make_fusion(mode))
    assert change.min() > 0.01
    assert change.max() < 3


def test_a_match_is_found_wherever_it_has_moved():
    """Slot 0 leaves; slot 1 holds the same keys in another order, slot 2 holds others."""
    state, order = states(), torch.tensor([2, 0, 3, 1])
    state.key[:, :, 1] = 5 * state.key[:, :, 0, order]
    with torch.no_grad():
        fused = SlotFusion(threshold=0.999, weight=0.5)(state, overwrite(state, 0))
        cosine, index = match(state.key, overwrite(state, 0))
    assert index[0, 0, 1].tolist() == order.tolist()
    torch.testing.assert_close(cosine[0, 0, :2], torch.ones(2, POSITIONS))
    torch.testing.assert_close(fused[:, :, 1], (state.value[:, :, 1] + state.value[:, :, 0, order]) / 2)
    assert torch.equal(fused[:, :, [0, 2]], state.value[:, :, [0, 2]])


@ACTIVE
def test_nothing_is_fused_when_nothing_is_overwritten(mode):
    fusion = make_fusion(mode, threshold=-1)
    entries = stream(5)[0]
    with torch.no_grad():
        state = states()
        assert torch.equal(fusion(state, overwrite(state, 3)), state.value)
        skipping = make_memory(fusion, Scripted([0, 1, 2, 3, 3]), gates=[]).eval()
        filled, _ = run(make_memory(None).eval(), entries[:3])
        after, _ = run(skipping, entries)
    assert_equal_states(dataclasses.replace(after, step=3), filled)


@ACTIVE
def test_an_empty_slot_neither_gives_nor_takes(mode):
    fusion = make_fusion(mode, threshold=-1)
    with torch.no_grad():
        state, _ = run(make_memory(None, Scripted([0, 1, 1]), gates=[]).eval(), stream(3)[0])
        fused = fusion(state, overwrite(state, 1))
        assert (fused[:, :, 2] == 0).all()
        assert torch.equal(fusion(state, overwrite(state, 2)), state.value)


@ACTIVE
def test_frame_0_takes_nothing(mode):
    with torch.no_grad():
        state, _ = run(make_memory(None).eval(), stream(3)[0])
        fused = make_fusion(mode, threshold=-1)(state, overwrite(state, 2))
    assert torch.equal(fused[:, :, 0], state.value[:, :, 0])
    assert not torch.equal(fused[:, :, 1], state.value[:, :, 1])


def test_a_fusion_that_no_frame_reaches_is_named():
    memory, (entries, _) = make_memory(make_fusion('learned')).train(), stream(4)
    state = memory.init(entries[0])
    for number, entry in enumerate(entries[:3], start=1):
        state = memory.write(state, entry)
        expected = f'{number} frames written, 3 slots, none overwritten'
        assert memory.untrained_parts(state) == dict(fusion=expected)
    assert memory.untrained_parts(memory.write(state, entries[3])) == {}
    assert make_memory(make_fusion('average')).untrained_parts(state) == {}


def test_none_is_no_fusion():
    entries, queries = stream()
    with torch.no_grad():
        expected, readouts = run(make_memory(None).eval(), entries, queries)
        state, same = run(make_memory(SlotFusion('none')).eval(), entries, queries)
    assert_equal_states(state, expected)
    assert torch.equal(torch.stack(same), torch.stack(readouts))


# The write paths.


@ACTIVE
@OWN_KEYS
def test_training_and_evaluation_are_equal(mode, own_keys):
    """The choices are forced: every slot and skipping occurs, another one for each sample."""
    plan = torch.randint(0, 4, (LENGTH, 2, 1), generator=generator(0)).tolist()
    plan[0] = [[1], [1]]
    memory = make_memory(make_fusion(mode), Scripted(plan), gates=[], per_object_key=own_keys)
    entries, queries = stream(batch=2, objects=3, groups=3 if own_keys else 1)
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
        plain, _ = run(
            make_memory(None, Scripted(plan), gates=[], per_object_key=own_keys).eval(), entries, queries
        )
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained, evaluated, 1e-6)
    torch.testing.assert_close(torch.stack(train_readouts), torch.stack(readouts), rtol=0, atol=1e-6)
    assert (evaluated.value - plain.value).abs().max() > 0.01


@ACTIVE
def test_the_learned_selector_draws_and_fuses_alike_in_both_modes(mode):
    torch.manual_seed(0)
    memory = make_memory(make_fusion(mode), GumbelSelector(KEY, VALUE, 8)).train()
    entries, queries = stream(batch=3, objects=2)
    trained, _ = run(memory, entries, queries, seeds=(1, 2, 3))
    with torch.no_grad():
        written, _ = run(memory, entries, queries, seeds=(1, 2, 3))
    assert_equal_states(trained, written, 1e-6)


def test_gradients_reach_the_gate_the_selector_and_what_was_overwritten():
    torch.manual_seed(0)
    memory = make_memory(make_fusion('learned'), GumbelSelector(KEY, VALUE, 8)).train()
    entries, queries = stream(6)
    for entry in entries:
        entry.value.requires_grad_()
    state, readouts = run(memory, entries, queries, seeds=(0,))
    torch.stack(readouts).square().sum().backward()
    assert [name for name, parameter in memory.named_parameters() if not parameter.grad.abs().max() > 0] == []

    memory = make_memory(make_fusion('learned')).train()
    entries, queries = stream(6)
    entries[0].value.requires_grad_()
    state, _ = run(memory, entries)
    assert sorted(state.written_at[0, 0].tolist()) == [3, 4, 5]
    memory.read(state, queries[0])[0].square().sum().backward()
    assert entries[0].value.grad.abs().max() > 0  # long gone, but not without a trace


def test_training_leaves_its_state_alone_and_evaluation_changes_it_in_place():
    memory = make_memory(make_fusion(threshold=-1))
    entry = make_entry(9)
    state = states()
    before, pointer = state.clone(), state.value.data_ptr()
    memory.train().write(state, entry)
    assert_equal_states(state, before)
    with torch.no_grad():
        after = memory.eval().write(state, entry)
    assert after is state
    assert after.value.data_ptr() == pointer
    assert not torch.equal(after.value[:, :, 0], before.value[:, :, 0])


# Objects and rows.


@ACTIVE
@OWN_KEYS
def test_rows_and_objects_do_not_depend_on_each_other(mode, own_keys):
    memory = make_memory(make_fusion(mode), per_object_key=own_keys).eval()
    entries, queries = stream(batch=2, objects=2, groups=2 if own_keys else 1)
    with torch.no_grad():
        readouts = torch.stack(run(memory, entries, queries)[1])
        for row in range(2):
            for index in range(2):
                one = [take(entry, slice(row, row + 1), slice(index, index + 1)) for entry in entries]
                alone = run(memory, one, [Query(query.key[row : row + 1]) for query in queries])[1]
                expected = readouts[:, row : row + 1, index : index + 1]
                torch.testing.assert_close(torch.stack(alone), expected, rtol=0, atol=1e-5)


@ACTIVE
@OWN_KEYS
def test_a_new_object_is_not_disturbed_by_what_is_older(mode, own_keys):
    """Slots that hold no value of it stay zero; what it reads and what the others read is as if each were
    alone."""
    memory = make_memory(make_fusion(mode, threshold=-1), per_object_key=own_keys).eval()
    whole, queries = stream(objects=2, groups=2 if own_keys else 1)

    def join(past):
        with torch.no_grad():
            state, readouts = memory.add_objects(run(memory, past)[0], 1), []
            for index in range(4, LENGTH):
                if index > 4:
                    readout, state = memory.read(state, queries[index])
                    readouts.append(readout)
                state = memory.write(state, whole[index])
                unknown = ~state.valid
                assert (state.value[unknown] == 0).all()
        return torch.stack(readouts)

    readouts = join([take(entry, objects=slice(0, 1)) for entry in whole[:4]])
    other = join(
        [
            take(make_entry(100 + i, objects=2, groups=2 if own_keys else 1), objects=slice(0, 1))
            for i in range(4)
        ]
    )
    torch.testing.assert_close(readouts[:, :, 1], other[:, :, 1])
    assert (readouts[0, :, 0] - other[0, :, 0]).abs().max() > 1e-3
    with torch.no_grad():
        _, old = run(memory, [take(entry, objects=slice(0, 1)) for entry in whole], queries)
    torch.testing.assert_close(readouts[:, :, :1], torch.stack(old[4:]))


@ACTIVE
def test_a_slot_older_than_an_object_takes_nothing_of_it(mode):
    """Objects of frames 0 and 3: slots hold frames 1, 2 and 3, and the newest leaves."""
    with torch.no_grad():
        state, _ = run(make_memory(None, Scripted([0, 0, 1]), gates=[]).eval(), stream(3)[0])
        state = make_memory(None).eval().add_objects(state, 1)
        state = make_memory(None).eval().write(state, make_entry(3, objects=2))
        fused = make_fusion(mode, threshold=-1)(state, overwrite(state, 2))
    assert state.written_at.tolist() == [[[1, 2, 3]]]
    assert (fused[:, 1, :2] == 0).all()
    assert (fused[:, 0, :2] != state.value[:, 0, :2]).any()


def test_an_object_that_pads_a_batch_stays_zero():
    memory = make_memory(make_fusion('learned')).eval()
    entries, queries = stream(objects=2)
    for entry in entries:
        entry.value[:, 1] = 0
    with torch.no_grad():
        state, readouts = run(memory, entries, queries)
    assert (state.value[:, 1] == 0).all()
    assert (torch.stack(readouts)[:, :, 1] == 0).all()


# Selectors, reload, size, config.


@ACTIVE
@pytest.mark.parametrize('selector', SELECTORS)
def test_every_selector_works_with_it_and_its_state_is_reloaded(mode, selector):
    arguments = dict(key_channels=KEY, value_channels=VALUE) if selector is GumbelSelector else {}
    memory = make_memory(make_fusion(mode), selector(**arguments)).eval()
    entries, queries = stream()
    with torch.no_grad():
        state, _ = run(memory, entries[:5], queries[:5], seeds=(3,))
        loaded = SlotState(**state.clone().tensors(), **state.plain())
        for index in range(5, LENGTH):
            readout, state = memory.read(state, queries[index])
            again, loaded = memory.read(loaded, queries[index])
            assert torch.equal(readout, again)
            state, loaded = memory.write(state, entries[index]), memory.write(loaded, entries[index])
    assert_equal_states(state, loaded)


@ACTIVE
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_long_stream_keeps_its_size_type_and_scale(mode, dtype):
    memory = make_memory(make_fusion(mode, threshold=-1), gates=[EmptyFirst()]).eval()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i, dtype=dtype) for i in range(50)])
    assert state.value.dtype == dtype
    assert state.nbytes == 3 * POSITIONS * (KEY + VALUE) * dtype.itemsize + 3 * (8 + 8 + 4)
    assert state.value.isfinite().all()
    assert state.value.abs().max() < 5  # a mean of standard normal numbers


def test_a_token_without_a_place():
    entries = [
        dataclasses.replace(e, key=e.key[:, :, :1], value=e.value[:, :, :1], grid=(1, 1)) for e in stream()[0]
    ]
    with torch.no_grad():
        state, _ = run(make_memory(make_fusion(threshold=-1)).eval(), entries)
    assert state.value.isfinite().all()


def test_it_builds_from_a_config():
    fusion = build(
        dict(type=SlotMemory, fusion=dict(type=SlotFusion, mode='learned')), value_channels=20
    ).fusion
    assert fusion.gate.from_own.in_features == 20
    assert build(dict(type=SlotMemory, fusion=dict(type=SlotFusion, mode='average'))).fusion.gate is None
    assert SlotMemory().fusion is None


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(mode='sum'), r"SlotFusion\.mode must be one of none, average, learned, got 'sum'"),
        (dict(threshold=2), r'SlotFusion\.threshold must be in -1\.\.1, got 2'),
        (dict(weight=-0.1), r'SlotFusion\.weight must be in 0\.\.1, got -0\.1'),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SlotFusion(**arguments)
