"""The presence head: its score, what it gates, and that models without one stay as they were."""

import pytest
import torch
from helpers.memory_cases import make_entry
from helpers.vos_cases import SquaresVideo, make_batch, make_clip, tiny_config, tiny_model

from mmstremn.memory import FIFOSelector, MinPresence, SlotMemory
from mmstremn.models import PresenceHead
from mmstremn.models.segmentation.losses import presence_loss
from mmstremn.registry import MODELS
from mmstremn.structures import VOID

HEAD = dict(type='PresenceHead', channels=8)
GATES = [dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='MinPresence')]


def make_model(bias, **kwargs):
    """A model whose head says the same of every frame."""
    memory = dict(type='SlotMemory', num_slots=4, selector=dict(type='FIFOSelector'), gates=GATES)
    model = tiny_model(memory, presence=HEAD | kwargs)
    torch.nn.init.zeros_(model.presence.score[-1].weight)
    torch.nn.init.constant_(model.presence.score[-1].bias, bias)
    return model


def play(model, frames=5):
    video = SquaresVideo(frames)
    stream = model.start(video.frame(0), video.mask(0))
    return [stream.step(video.frame(index)) for index in range(1, frames)], stream.state


def test_an_absent_object_paints_nothing_and_is_not_stored():
    masks, state = play(make_model(-9.0))
    assert not any(mask.any() for mask in masks)
    assert state.written_at[0, 0].tolist() == [0, -1, -1, -1] and state.step == 5


def test_a_present_object_changes_nothing():
    masks, state = play(make_model(9.0))
    with_head = make_model(9.0)
    with_head.presence = None
    plain, plain_state = play(with_head)
    assert all(torch.equal(a, b) for a, b in zip(masks, plain, strict=True))
    assert torch.equal(state.value, plain_state.value)
    assert any(mask.any() for mask in masks)


def test_the_threshold_decides():
    probability = torch.tensor(0.3).sigmoid().item()
    assert play(make_model(0.3, threshold=probability - 0.01))[0][0].any()
    assert not play(make_model(0.3, threshold=probability + 0.01))[0][0].any()
    with pytest.raises(ValueError, match=r'threshold must be in 0..1, got 2'):
        PresenceHead(threshold=2)


def test_a_prompted_frame_is_stored_whatever_the_head_says():
    model = make_model(-9.0)
    video = SquaresVideo(4)
    stream = model.start(video.frame(0), video.mask(0))
    stream.step(video.frame(1))
    mask = stream.step(video.frame(2), video.mask(2))
    assert torch.equal(mask, torch.from_numpy(video.mask(2)))
    assert stream.state.written_at[0, 0].tolist() == [0, 2, -1, -1]


@pytest.mark.parametrize('groups', [1, 2])
def test_frames_are_gated_for_each_key_group(groups):
    memory = SlotMemory(
        num_slots=2, selector=FIFOSelector(), gates=[MinPresence(0.5)], per_object_key=groups == 2
    )
    entry = make_entry(groups=groups, objects=2)
    entry.extras['presence'] = torch.tensor([[0.9, 0.1]]).expand(len(entry.value), -1)
    stored = memory.select(memory.init(entry), entry)[0, :, :-1].any(-1).tolist()
    assert stored == ([True] if groups == 1 else [True, False])


def test_loss_is_cross_entropy_of_frames_that_can_be_told():
    logits = torch.tensor([[[2.0, 0.5], [-1.0, 3.0]]])
    target = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    target[0, 0, :5, :5] = 1  # 25 pixels: present
    target[0, 1, 0, 0] = 1  # 1 pixel: does not count
    target[0, 1, 7] = VOID
    present = torch.tensor([[True, False]])
    torch.testing.assert_close(presence_loss(logits, target, present), torch.tensor(2.0).neg().exp().log1p())


def test_the_loss_reaches_the_head_and_objects_that_pad_a_batch_do_not_count():
    model = tiny_model(presence=HEAD).train()
    batch = make_batch(model, make_clip(0, objects=2), make_clip(1))
    losses = model(**batch, mode='loss')
    assert set(losses) == {'loss_ce', 'loss_dice', 'loss_presence'}
    losses['loss_presence'].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.presence.parameters())


def test_the_head_learns_to_say_whether_the_object_is_there():
    """Clips in whose later frames the squares are missing, or not; everything but the head is frozen."""
    frozen = ('key_encoder', 'value_encoder', 'decoder', 'memory.selector')
    torch.manual_seed(0)
    model = MODELS.build(tiny_config(presence=HEAD, frozen=frozen)).train()
    optimizer = torch.optim.Adam(model.presence.parameters(), 0.03)
    clips = []
    for seed in range(4):
        frames, sample = make_clip(seed)
        if seed % 2:
            frames[2:], sample.masks[2:] = make_clip(seed + 10, objects=0)[0][2:], 0
        clips.append((frames, sample))
    batch = make_batch(model, *clips)
    for _ in range(40):
        loss = model(**batch, mode='loss')['loss_presence']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2  # chance: .69


def test_weights_without_a_head_still_load_and_a_model_without_one_has_none_of_its_keys():
    plain = tiny_model()
    assert not any('presence' in key for key in plain.state_dict())
    missing = tiny_model(presence=HEAD).load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys and all(key.startswith('presence.') for key in missing.missing_keys)
    assert not missing.unexpected_keys
