"""The weights that parts of memories begin with, where they are not PyTorch's: learning depends on them."""

import math
from functools import partial

import pytest
import torch

from mmstremn import memory
from mmstremn.memory.published.mart import GatedUpdate
from mmstremn.memory.published.ntm import ContentAddress, EraseAdd
from mmstremn.memory.published.sensory import SensoryCell

# A part and the values of its parameters: of all numbers alike, or of each.
VALUES = [
    (memory.GumbelSelector, {'network.2.bias': 0, 'age_weight': 2}),
    (memory.FeatureSelector, {'age_weight': 1}),
    (partial(memory.SlotFusion, 'learned'), {'gate.to_gate.bias': -2}),
    (memory.DeformableAlign, {'to_offset.weight': 0, 'to_offset.bias': 0}),
    (memory.GatedLinearMemory, {'gate.bias': 2}),
    (memory.NTMMemory, {'gate.weight': 0, 'gate.bias': -1}),
    (partial(ContentAddress, 3), {'key.weight': torch.eye(3), 'sharpness.weight': 0, 'sharpness.bias': 10}),
    (partial(EraseAdd, 3), {'erase.weight': 0, 'erase.bias': 3, 'add.weight': torch.eye(3)}),
    (memory.GatedSlotMemory, {'project.weight': torch.eye(64), 'project.bias': 0}),
    (partial(GatedUpdate, 2, 3), {'candidate_bias': 0}),
]
# The standard deviations of weights that are drawn around 0.
SPREADS = [
    (memory.GumbelSelector, {'network.2.weight': 0.02}),
    (partial(memory.FeatureSelector, channels=999), {'network.4.weight': 0.01}),
    (memory.RecentPromptedMemory, {'codes': 0.02}),
    (memory.GatedSlotMemory, {'key_embedding': 0.1, 'value_embedding': 0.1}),
    (partial(SensoryCell, 4, 8), {'gates.weight': math.sqrt(2 / (9 * (12 + 24)))}),
]


def name_of(value):
    return ' '.join(value) if isinstance(value, dict) else getattr(value, 'func', value).__name__


def weights_of(part):
    torch.manual_seed(0)
    return part().state_dict()


@pytest.mark.parametrize(('part', 'expected'), VALUES, ids=name_of)
def test_values(part, expected):
    for name, value in expected.items():
        weights = weights_of(part)[name]
        assert torch.equal(weights, torch.as_tensor(value, dtype=weights.dtype).expand_as(weights)), name


@pytest.mark.parametrize(('part', 'expected'), SPREADS, ids=name_of)
def test_spreads(part, expected):
    for name, spread in expected.items():
        weights = weights_of(part)[name]
        assert weights.std().item() == pytest.approx(spread, rel=4 / math.sqrt(2 * weights.numel())), name
        assert abs(weights.mean().item()) < 5 * spread / math.sqrt(weights.numel()), name


def test_slot_s_of_gated_slots_keeps_all_but_a_half_to_the_power_of_s_plus_one():
    update = GatedUpdate(2, 3)
    kept = update.gate_bias.sigmoid()
    torch.testing.assert_close(kept, torch.tensor([1 / 2, 3 / 4, 7 / 8])[:, None].expand(3, 2))
    new = torch.rand(1, 1, 3, 1, 2)
    update.memory.weight.data[2:], update.summary.weight.data[2:] = 0, 0  # the gates are their biases
    torch.testing.assert_close(
        update(torch.zeros_like(new), new)[0, 0, :, 0], (1 - kept) * new[0, 0, :, 0].tanh()
    )


def test_what_is_not_learned_is_no_parameter():
    selector = memory.GumbelSelector()
    assert 'network.2.bias' not in dict(selector.named_parameters())
    assert 'network.2.bias' in dict(selector.named_buffers())
    learned = dict(memory.FeatureSelector().named_parameters())
    assert 'network.4.bias' not in learned and 'age_weight' in learned
    assert memory.DeformableAlign().from_slot.bias is None
