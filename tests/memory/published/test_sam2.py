"""SAM 2's memory: which frames are held, temporal codes, object pointers and their joint softmax, against
plain loops."""

import math

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, crop, generator, make_entry, make_query, run, take

from mmstremn.memory import AnisotropicL2Affinity, FIFOSelector, L2Affinity, SlotMemory
from mmstremn.memory.published.sam2 import RecentPromptedMemory, joint_attention

DECODED = 6


def build(**kwargs) -> RecentPromptedMemory:
    torch.manual_seed(0)
    small = dict(num_recent=3, num_prompted=2, num_pointers=4, key_channels=KEY, value_channels=VALUE)
    memory = RecentPromptedMemory(decoder_channels=DECODED, **(small | kwargs)).eval()
    with torch.no_grad():
        memory.codes.mul_(30)
    return memory


def stream(length, batch=1, objects=1, prompted=(0,), extras=True, **kwargs):
    """Entries and queries; the same samples and objects whatever the batch."""
    entries = [make_entry(i, batch, objects, prompted=i in prompted, **kwargs) for i in range(length)]
    for index, entry in enumerate(entries if extras else []):
        rows = [generator(index, b, 5) for b in range(batch)]
        entry.extras['mask'] = torch.stack([torch.rand(objects, POSITIONS, generator=g) for g in rows])
        if index:
            entry.extras['decoded'] = torch.stack(
                [torch.randn(objects, POSITIONS, DECODED, generator=g) for g in rows]
            )
    return entries, [make_query(i, batch) for i in range(length)]


def held(memory, length, prompted=(0,)):
    """The frames of the recent slots and those of the prompted slots, sorted, after each frame."""
    entries, steps = stream(length, prompted=prompted)[0], []
    with torch.no_grad():
        state = memory.init(entries[0])
        for entry in entries:
            state = memory.write(state, entry)
            stamps = state.written_at[0, 0].tolist()
            cut = memory.num_recent
            steps.append(tuple(sorted(t for t in part if t >= 0) for part in (stamps[:cut], stamps[cut:])))
    return steps


def test_recent_frames_go_round_and_prompted_frames_stay():
    steps = held(build(), 9)
    assert steps[0] == ([], [0])
    assert steps[3] == ([1, 2, 3], [0])
    assert steps[8] == ([6, 7, 8], [0])


def test_the_first_and_the_latest_prompted_frames_are_kept():
    assert held(build(), 9, (0, 2, 5))[-1] == ([6, 7, 8], [0, 5])
    assert held(build(num_prompted=3), 12, (0, 2, 5, 9))[-1] == ([8, 10, 11], [0, 5, 9])
    assert held(build(num_prompted=1), 9, (0, 2, 5))[-1] == ([6, 7, 8], [5])
    assert held(build(), 4, ())[-1] == ([1, 2, 3], [])


def test_pointers_are_those_of_the_latest_frames():
    memory, (entries, _) = build(), stream(7, prompted=(0, 3))
    for length in range(1, 8):
        with torch.no_grad():
            state = run(memory, entries[:length])[0]
        stamps = state.pointed_at.tolist()
        assert sorted(t for t in stamps if t >= 0) == list(range(max(0, length - 4), length))
        for place, stamp in enumerate(stamps):
            if stamp >= 0:
                entry, linear = entries[stamp], memory.from_decoded if stamp else memory.from_value
                feature, mask = (
                    entry.extras.get('decoded', entry.value)[0, 0].double(),
                    entry.extras['mask'][0, 0].double(),
                )
                pooled = sum(m * f for m, f in zip(mask, feature, strict=True)) / max(mask.sum(), 1)
                expected = linear.weight.double() @ pooled
                torch.testing.assert_close(
                    state.pointers[0, 0, place].double(), expected, rtol=1e-5, atol=1e-5
                )


def test_a_vanished_object_leaves_no_pointer_and_without_masks_all_positions_count():
    memory, (entries, _) = build(), stream(2)
    state = memory.init(entries[0])
    entries[0].extras['mask'].zero_()
    assert (memory.point(state, entries[0]) == 0).all()
    expected = memory.from_value(entries[0].value.mean(2))
    entries[0].extras['mask'].fill_(0.5 / POSITIONS)  # half a position in all
    torch.testing.assert_close(memory.point(state, entries[0]), expected / 2)
    entries[0].extras.clear()
    torch.testing.assert_close(memory.point(state, entries[0]), expected)


def plain_read(memory, state, query, births, logit):
    """The readout by loops in float64: all that an object may read, then one softmax."""
    key, value, pointers = (t[0].double() for t in (state.key, state.value, state.pointers))
    out = torch.zeros(len(births), POSITIONS, VALUE, dtype=torch.float64)
    for o, birth in enumerate(births):
        for p in range(POSITIONS):
            logits, values = [], []
            for slot, stamp in enumerate(state.written_at[0, 0].tolist()):
                if stamp >= birth:
                    row = memory.num_recent
                    if slot < memory.num_recent:
                        row = min(state.step - stamp, memory.num_recent) - 1
                    for place in range(POSITIONS):
                        logits.append(
                            logit(query.key[0, p].double(), key[0, slot, place] + memory.codes[row].double())
                        )
                        values.append(value[o, slot, place])
            for place, stamp in enumerate(state.pointed_at.tolist()):
                if stamp >= birth:
                    logits.append(
                        logit(
                            query.key[0, p].double(), memory.pointer_key.weight.double() @ pointers[o, place]
                        )
                    )
                    values.append(pointers[o, place])
            out[o, p] = torch.stack(logits).softmax(0) @ torch.stack(values)
    return out


def dot(q, k):
    return q @ k / math.sqrt(KEY)


def distance(q, k):
    return -(q - k).square().sum() / math.sqrt(KEY)


@pytest.mark.parametrize(('affinity', 'logit'), [(None, dot), (L2Affinity(), distance)])
def test_every_readout_is_that_of_plain_loops(affinity, logit):
    """With prompted frames in between and an object that appears at frame 4."""
    memory, birth = build(affinity=affinity), 4
    entries, queries = stream(9, objects=2, prompted=(0, birth, 6))
    with torch.no_grad():
        state = memory.init(take(entries[0], objects=[0]))
        for step, entry in enumerate(entries):
            births = (0, birth)[: 1 + (step > birth)]
            if step:
                readout, state = memory.read(state, queries[step])
                expected = plain_read(memory, state, queries[step], births, logit)
                torch.testing.assert_close(readout[0].double(), expected, rtol=1e-5, atol=1e-5)
            state = memory.add_objects(state, 1) if step == birth else state
            state = memory.write(state, entry if step >= birth else crop([entry], objects=[0])[0])


def test_joint_attention_is_one_softmax():
    g = generator(1)
    to_positions, value = torch.randn(2, 4, 6, generator=g), torch.randn(2, 3, 6, 5, generator=g)
    to_pointers, pointers = torch.randn(2, 3, 4, 2, generator=g), torch.randn(2, 3, 2, 5, generator=g)
    weight = torch.cat([to_positions[:, None].expand(-1, 3, -1, -1), to_pointers], -1).softmax(-1)
    expected = weight @ torch.cat([value, pointers], 2)
    torch.testing.assert_close(joint_attention(to_positions, value, to_pointers, pointers), expected)
    far = joint_attention(to_positions * 1e4, value, to_pointers * 1e4, pointers)
    assert far.isfinite().all()


def test_the_codes_tell_frames_of_equal_looks_apart():
    """All keys are equal, so that only the codes decide: each picks the value of one distance, the last the
    prompted one."""
    memory = build(num_pointers=1)
    entries, _ = stream(7, extras=False)
    for index, entry in enumerate(entries):
        entry.key.zero_()
        entry.value.fill_(float(index))
    memory.pointer_key.weight.data.zero_()
    for row, frame in enumerate([6, 5, 4, 0]):
        memory.codes.data.zero_()
        memory.codes.data[row] = 50.0
        with torch.no_grad():
            state, _ = run(memory, entries)
            query = make_query(0)
            query.key.fill_(1.0)
            readout, _ = memory.read(state, query)
        torch.testing.assert_close(readout, torch.full_like(readout, float(frame)))


def test_a_prompt_is_read_long_after_fifo_has_forgotten_it():
    memory, (entries, _) = build(num_pointers=1), stream(60, extras=False)
    query = make_query(0)
    entries[0].key[:], entries[0].value[:], query.key[:] = 40.0, 77.0, 40.0
    with torch.no_grad():
        readout = run(memory, entries, [query] * 60)[1][-1]
        fifo = run(SlotMemory(3, FIFOSelector()).eval(), entries, [query] * 60)[1][-1]
    torch.testing.assert_close(readout, torch.full_like(readout, 77.0))
    assert (fifo - 77).abs().min() > 10


def read_at(memory, frames, prompted):
    """For each frame the frames whose pointers it reads, and those whose recent slots it reads."""
    entries, pointers, recent = stream(frames, prompted=prompted, extras=False)[0], [set()], [set()]
    with torch.no_grad():
        state = memory.init(entries[0])
        for entry in entries[:-1]:
            state = memory.write(state, entry)
            pointers.append({step for step in state.pointed_at.tolist() if step >= 0})
            recent.append({step for step in state.written_at[0, 0, :6].tolist() if step >= 0})
    return pointers, recent


def test_differences_from_the_public_code_are_those_of_the_docs():
    """There a frame reads the pointers of the prompted frames and of the 15 before it, and of the 6 before it
    the slots of those that were not prompted (facebookresearch/sam2, sam2_base.py)."""
    sizes = dict(num_recent=6, num_prompted=2, num_pointers=16)
    pointers, recent = read_at(build(**sizes), 60, (0,))
    theirs = [{0, *range(max(0, t - 15), t)} for t in range(60)]
    assert [t for t in range(1, 60) if pointers[t] != theirs[t]] == list(range(17, 60))
    assert all(recent[t] == set(range(max(1, t - 6), t)) for t in range(1, 60))
    _, recent = read_at(build(**sizes), 60, (0, 40))
    theirs = [set(range(max(1, t - 6), t)) - {40} for t in range(60)]
    more = {t: recent[t] - theirs[t] for t in range(60) if recent[t] != theirs[t]}
    assert list(more) == list(range(41, 47)) and all(len(extra) == 1 for extra in more.values())


def test_a_new_object_points_by_its_value_and_disturbs_nobody():
    memory, birth, length = build(), 3, 8
    entries, queries = stream(length, objects=2, prompted=(0, birth))
    entries[birth].extras['decoded'][:, 1] = 0  # it was not decoded

    def join(number):
        readouts = []
        with torch.no_grad():
            state, _ = run(memory, crop(entries[:birth], objects=[0]))
            state = memory.add_objects(state, number)
            for index in range(birth, length):
                if index > birth:
                    readout, state = memory.read(state, queries[index])
                    readouts.append(readout)
                state = memory.write(state, crop([entries[index]], objects=slice(0, 1 + number))[0])
                if index == birth and number:
                    mask, value = entries[birth].extras['mask'][0, 1], entries[birth].value[0, 1]
                    expected = memory.from_value(mask @ value / mask.sum().clamp(min=1))
                    torch.testing.assert_close(state.pointers[0, 1, birth], expected)
                    assert (state.pointers[0, 1, :birth] == 0).all()
        return torch.stack(readouts)

    torch.testing.assert_close(join(1)[:, :, :1], join(0))


def test_gradients_reach_every_parameter_and_all_that_is_stored():
    memory, (entries, queries) = build().train(), stream(6)
    for entry in entries:
        entry.value.requires_grad_()
        entry.key.requires_grad_()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in memory.parameters())
    assert (memory.codes.grad.abs().amax(1) > 0).all()
    assert all(entry.value.grad.abs().max() > 0 and entry.key.grad.abs().max() > 0 for entry in entries[:-1])


@pytest.mark.parametrize('name', ['num_recent', 'num_prompted', 'num_pointers'])
def test_nonsense_is_refused(name):
    with pytest.raises(ValueError, match=rf'RecentPromptedMemory\.{name} must be at least 1, got 0'):
        build(**{name: 0})


def test_an_affinity_with_a_selection_is_refused():
    with pytest.raises(
        ValueError, match=r'RecentPromptedMemory\.affinity must be one without .* got AnisotropicL2Affinity'
    ):
        build(affinity=AnisotropicL2Affinity())


def test_defaults_are_those_of_the_paper():
    memory = RecentPromptedMemory()
    assert (memory.num_recent, memory.num_prompted, memory.num_pointers) == (6, 2, 16)
    assert memory.codes.shape == (7, 64)
