"""Gates that look at what the model says of a frame."""

import pytest
import torch
from helpers.memory_cases import make_entry

from mmstremn.memory import MinPresence

LOGITS = torch.tensor([[[1.0, 2.0, 3.0]]])


def gated(presence, groups=1, prompted=False):
    entry = make_entry(0, objects=2, groups=groups, prompted=prompted)
    if presence is not None:
        entry.extras['presence'] = torch.tensor([presence])
    return MinPresence(0.5)(LOGITS.expand(1, groups, 3), None, entry)


def stores(logits):
    """Whether a slot may be taken, by key group."""
    return logits[0, :, :-1].isfinite().any(-1).tolist()


@pytest.mark.parametrize('presence, stored', [([0.1, 0.5], True), ([0.1, 0.4], False), (None, True)])
def test_a_frame_is_stored_only_if_any_object_is_present(presence, stored):
    logits = gated(presence)
    assert stores(logits) == [stored]
    assert torch.equal(logits, LOGITS) == stored and logits[0, 0, -1].isfinite()


def test_objects_with_their_own_keys_are_gated_alone():
    assert stores(gated([0.9, 0.1], groups=2)) == [True, False]


def test_what_a_user_gave_is_stored():
    assert torch.equal(gated([0.0, 0.0], prompted=True), LOGITS)
