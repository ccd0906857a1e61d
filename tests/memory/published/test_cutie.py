"""Cutie's memory: the sensory state and the summaries beside any memory of pixels."""

import dataclasses
import inspect
import math
import re

import pytest
import torch
from helpers.memory_cases import (
    DECODED,
    VALUE,
    assert_close,
    assert_equal_states,
    build_memory,
    crop,
    full_clip,
    run,
)

from mmstremn.memory import (
    MEMORIES,
    AnisotropicL2Affinity,
    CutieMemory,
    EmptyFirst,
    EveryN,
    FIFOSelector,
    KeepFirst,
    ObjectMemory,
    SensoryMemory,
    SlotMemory,
    TopKReader,
    TwoLevelMemory,
)
from mmstremn.memory.encoding import encode_places

SENSORY, SUMMARIES, CHANNELS = 4, 6, 8
WORKING = dict(min_frames=2, max_frames=4, every=3, num_prototypes=3, capacity=7)
OTHERS = [memory for memory in MEMORIES if memory is not CutieMemory]
SMALL = {
    'SlotMemory': dict(num_slots=3, selector=FIFOSelector()),
    'TwoLevelMemory': WORKING | dict(sensory_channels=0),
}


def build_cutie(pixel_memory=None) -> CutieMemory:
    torch.manual_seed(0)
    pixel_memory = pixel_memory or TwoLevelMemory(
        **WORKING, sensory_channels=0, value_channels=VALUE, compat='cutie'
    )
    return CutieMemory(
        pixel_memory, SensoryMemory(SENSORY, VALUE, DECODED), ObjectMemory(SUMMARIES, CHANNELS, VALUE)
    ).eval()


@torch.no_grad()
def test_what_is_read():
    memory, (entries, queries) = build_cutie(), full_clip(objects=3)
    state, _ = run(memory, entries[:5], queries)
    readout, after = memory.read(state, queries[5])
    pixels, _ = memory.pixel_memory.read(state, queries[5])
    sensory, mask, others = readout[..., VALUE:].split([SENSORY, 1, 1], -1)
    assert torch.equal(readout[..., :VALUE], pixels)
    assert torch.equal(sensory, state.sensory_map)
    assert torch.equal(mask[..., 0], entries[4].extras['mask'])
    expected = [sum(mask[:, i] for i in range(3) if i != one).clamp(max=1) for one in range(3)]
    assert_close(others, torch.stack(expected, 1))
    assert type(after) is memory.state_class


@torch.no_grad()
def test_the_sensory_state_follows_every_frame_and_the_summaries_those_stored():
    memory, (entries, queries) = build_cutie(), full_clip(objects=2)
    sensory, objects, grid = memory.sensory_memory, memory.object_memory, entries[0].grid
    state = memory.init(entries[0])
    expected, sums, stored = state.sensory_map, state.summary_sums, []
    for step in range(9):
        entry = dataclasses.replace(entries[step], prompted=step in (0, 4))
        if step:
            _, state = memory.read(state, queries[step])
            expected = sensory.from_decoded(entry.extras['decoded'], expected, grid)
        if entry.prompted or memory.wants(state):
            stored.append(step)
            state = memory.write(state, entry)
            expected, sums = sensory.from_value(entry.value, expected, grid), sums + objects(entry)
        else:
            state = memory.pass_over(state, entry.extras['decoded'], entry.extras['mask'])
        assert_close(state.sensory_map, expected, 1e-6)
        assert_close(state.summary_sums, sums, 1e-6)
        assert torch.equal(state.last_mask, entry.extras['mask'])
    assert stored == [0, 3, 4, 7]


@torch.no_grad()
def test_a_summary_is_an_average_inside_or_outside_of_the_object():
    memory, (entries, _) = build_cutie().object_memory, full_clip(1, objects=2)
    entry, place = entries[0], encode_places(entries[0].grid, CHANNELS)
    sums = memory(entry)
    for one in range(2):
        value = memory.project(entry.value[0, one]) + place
        for summary in range(SUMMARIES):
            mask = entry.extras['mask'][0, one]
            weight = memory.weight(value)[:, summary].sigmoid()
            weight = weight * (mask if summary < SUMMARIES / 2 else 1 - mask)
            expected = sum(w * f for w, f in zip(weight, memory.feature(value), strict=True))
            assert_close(sums[0, one, summary], torch.cat([expected, weight.sum()[None]]))
            average = expected / (weight.sum() + 1e-4)
            assert_close(memory.average(sums)[0, one, summary], average)


def test_places():
    code = encode_places((2, 3), 8, scale=5.0, temperature=16.0)
    for row in range(2):
        for column in range(3):
            angles = [column / (2 + 1e-6) * 5, column / (2 + 1e-6) * 5 / 4]
            angles += [row / (1 + 1e-6) * 5, row / (1 + 1e-6) * 5 / 4]
            expected = [f(angle) for angle in angles for f in (math.sin, math.cos)]
            assert_close(code[row * 3 + column], torch.tensor(expected), 1e-6)
    assert encode_places((1, 1), 4).tolist() == [[0, 1, 0, 1]]


def check_it_hands_on_what_the_pixel_memory_says(memory, alone, state, query):
    for name in ('needs_selection', 'per_object_key', 'bounded'):
        assert getattr(memory, name) == getattr(alone, name)
    for name, arguments in (
        ('object_tokens', ()),
        ('distance', (query,)),
        ('timeline', ()),
        ('wants', ()),
        ('penalty', ()),
        ('untrained_parts', ()),
    ):
        try:
            expected = getattr(alone, name)(state, *arguments)
        except TypeError as error:
            with pytest.raises(TypeError, match=re.escape(str(error))):
                getattr(memory, name)(state, *arguments)
        else:
            torch.testing.assert_close(getattr(memory, name)(state, *arguments), expected, rtol=0, atol=0)


@pytest.mark.parametrize('memory_class', OTHERS)
@torch.no_grad()
def test_any_memory_of_pixels_will_do(memory_class):
    """It reads what it reads alone; objects join and leave; a state is made anew from its parts."""
    alone = build_memory(memory_class, **SMALL.get(memory_class.__name__, {}))
    memory, (entries, queries) = build_cutie(alone), full_clip(8, objects=3, prompted=(0, 5))
    if memory.per_object_key:
        pytest.skip('it wants a key per object')
    width = run(alone, entries, queries)[1][-1].shape[-1]
    state, _ = run(memory, entries[:5], queries)
    other, _ = run(alone, entries[:5], queries)
    loaded = memory.state_class(**state.clone().tensors(), **state.plain())
    assert_equal_states(loaded, state)
    readout, _ = memory.read(state, queries[5])
    expected, _ = alone.read(other, queries[5])
    assert torch.equal(readout[..., :width], expected)
    check_it_hands_on_what_the_pixel_memory_says(CutieMemory(alone).eval(), alone, other, queries[5])
    grown = memory.add_objects(state.clone(), 1)
    assert memory.object_tokens(grown).shape == (1, 4, SUMMARIES, CHANNELS)
    assert not grown.summary_sums[:, 3].any()
    fewer = memory.remove_objects(state, [0])
    assert torch.equal(fewer.sensory_map, state.sensory_map[:, 1:])
    readout, fewer = memory.read(fewer, queries[5])
    assert readout.shape[1] == 2
    assert memory.write(fewer, crop(entries, objects=[1, 2])[5]).step == 6


@torch.no_grad()
def test_the_memory_of_the_public_davis_options():
    """The first frame and the latest four of every fifth, without long-term memory."""
    gates = [EmptyFirst(), KeepFirst(), EveryN(5)]
    pixels = SlotMemory(5, FIFOSelector(), TopKReader(AnisotropicL2Affinity(), 30), gates)
    memory, (entries, queries) = build_cutie(pixels), full_clip(37)
    state = memory.init(entries[0])
    for step, entry in enumerate(entries):
        if step:
            _, state = memory.read(state, queries[step])
        wanted = step == 0 or memory.wants(state)
        state = memory.write(state, entry) if wanted else memory.pass_over(state, entry.extras['decoded'])
    assert sorted(memory.timeline(state).tolist()) == [0, 20, 25, 30, 35]


@torch.no_grad()
def test_objects_that_join_have_no_past():
    memory, (entries, queries) = build_cutie(), full_clip(objects=2)
    state, _ = run(memory, crop(entries[:5], objects=slice(1)), queries)
    state = memory.write(memory.add_objects(state, 1), dataclasses.replace(entries[5], prompted=True))
    new = crop(entries, objects=slice(1, 2))[5]
    fresh = build_cutie()
    fresh_state = fresh.init(new)
    expected = fresh.sensory_memory.from_value(new.value, fresh_state.sensory_map, new.grid)
    assert_close(state.sensory_map[:, 1:], expected, 1e-6)
    assert_close(state.summary_sums[:, 1:], fresh.object_memory(new), 1e-6)


@torch.no_grad()
def test_prototypes_go_in_blocks():
    """The public code makes room for more than it needs, and also where there is just enough."""
    held = {}
    for compat, buffer in (('cutie', 0), ('cutie', 2), (None, 2)):
        torch.manual_seed(0)
        memory = TwoLevelMemory(
            2, 4, 1, 3, 9, sensory_channels=0, value_channels=VALUE, compat=compat, buffer=buffer
        ).eval()
        entries, queries = full_clip(14)
        state, counts = memory.init(entries[0]), []
        for step, entry in enumerate(entries):
            if step:
                _, state = memory.read(state, queries[step])
            state, before = memory.write(state, entry), state.prototypes
            counts += [state.prototypes] if state.prototypes != before or state.frames == 2 else []
        held[compat, buffer] = counts[1:]
    assert held['cutie', 0] == [3, 6, 9, 9, 9, 9][: len(held['cutie', 0])]
    assert held['cutie', 2] == [3, 6, 7, 7, 7, 7][: len(held['cutie', 2])]
    assert held[None, 2] == [3, 6, 9, 7, 7, 7][: len(held[None, 2])]


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ObjectMemory(3), 'ObjectMemory.num_summaries must be even and at least 2, got 3'),
        (lambda: ObjectMemory(0), 'ObjectMemory.num_summaries must be even and at least 2, got 0'),
        (lambda: ObjectMemory(2, 6), 'ObjectMemory.channels must be a multiple of 4, got 6'),
        (lambda: SensoryMemory(0), 'SensoryMemory.channels must be at least 1, got 0'),
        (lambda: TwoLevelMemory(buffer=-1), 'TwoLevelMemory.buffer must be at least 0, got -1'),
        (
            lambda: TwoLevelMemory(num_prototypes=8, capacity=10, buffer=3),
            r'at least num_prototypes \(8\) and buffer \(3\) together, got 10',
        ),
    ],
)
def test_arguments_out_of_range(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_public_options_are_the_defaults():
    defaults = {name: p.default for name, p in inspect.signature(ObjectMemory).parameters.items()}
    assert defaults == dict(num_summaries=16, channels=256, value_channels=256)
