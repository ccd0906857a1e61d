"""What the parts of a memory make lies on the device of its entries, be that a GPU that is not there."""

import pytest
import torch
from helpers.absent_gpu import devices_of_a_stream
from helpers.memory_cases import KEY, VALUE, build_memory, clip, full_clip, widths_of

from mmstremn.memory import (
    GATES,
    READERS,
    SELECTORS,
    AnisotropicL2Affinity,
    DeformableAlign,
    GrowingMemory,
    L2Affinity,
    RandomSelector,
    ReservoirSelector,
    SlotFusion,
    SlotMemory,
)
from mmstremn.memory.buffers import to_device

PARTS = [dict(selector=part(**widths_of(part))) for part in SELECTORS]
PARTS += [dict(gates=[part()]) for part in GATES]
PARTS += [
    dict(reader=part(affinity())) for part in READERS for affinity in (L2Affinity, AnisotropicL2Affinity)
]
PARTS += [dict(fusion=SlotFusion(mode, value_channels=VALUE)) for mode in ('average', 'learned')]
PARTS.append(dict(align=DeformableAlign(KEY)))


def name_of(part):
    (name, value), *_ = part.items()
    return f'{name} {type(value[0] if name == "gates" else value).__name__}'


@pytest.mark.parametrize('training', [False, True], ids=['evaluation', 'training'])
@pytest.mark.parametrize('part', PARTS, ids=name_of)
def test_parts_of_slot_memory(part, training):
    memory = build_memory(SlotMemory, num_slots=2, train_slots=2, **part).train(training)
    assert devices_of_a_stream(memory, *full_clip(6, batch=2, objects=2)) == {'cuda'}


@pytest.mark.parametrize('memory_class', [SlotMemory, GrowingMemory])
def test_keys_of_objects(memory_class):
    memory = build_memory(memory_class, per_object_key=True)
    assert devices_of_a_stream(memory, *clip(6, objects=2, groups=2)) == {'cuda'}


@pytest.mark.parametrize('selector', [RandomSelector, ReservoirSelector])
def test_seeded_draws(selector):
    memory = build_memory(SlotMemory, num_slots=2, selector=selector())
    assert devices_of_a_stream(memory, *full_clip(6, batch=2), seeds=(3, 4)) == {'cuda'}


def test_numbers_take_the_type_of_a_tensor():
    third = to_device([1 / 3], torch.zeros((), dtype=torch.float64))
    assert third.dtype == torch.float64 and third.item() == 1 / 3
