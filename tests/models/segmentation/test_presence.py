"""The presence head: its score, what it gates, and that models without one stay as they were."""

import pytest
import torch
import torch.nn.functional as F
from helpers.memory_cases import make_entry, make_query
from helpers.vos_cases import SquaresVideo, make_batch, make_clip, tiny_model

from mmstremn.memory import FIFOSelector, GrowingMemory, MinPresence, SlotMemory, TopKReader
from mmstremn.models import PresenceHead
from mmstremn.models.segmentation.losses import presence_loss
from mmstremn.structures import VOID

HEAD = dict(type='PresenceHead')
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


def test_the_head_learns_that_what_is_far_from_the_memory_is_absent():
    g = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = PresenceHead()
    near = torch.rand(32, generator=g) < 0.5
    distance = torch.rand(32, 1, 12, generator=g) + torch.where(near, 0.5, 4.0)[:, None, None]
    masks = torch.rand(32, 1, 24, 32, generator=g)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(40):
        loss = F.binary_cross_entropy_with_logits(head(distance, masks, (3, 4))[:, 0], near.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1  # chance: .69


@pytest.mark.parametrize('growing', [False, True])
def test_distance_is_that_to_the_nearest_stored_key(growing):
    memory = (GrowingMemory(every=1) if growing else SlotMemory(num_slots=4, selector=FIFOSelector())).eval()
    entries, query = [make_entry(seed) for seed in range(3)], make_query(5)
    with torch.no_grad():
        state = memory.init(entries[0])
        for entry in entries:
            state = memory.write(state, entry)
    keys = torch.cat([entry.key[0, 0] for entry in entries])
    plain = (query.key[0, :, None] - keys).square().sum(-1).amin(-1) / keys.shape[-1] ** 0.5
    torch.testing.assert_close(memory.distance(state, query)[0, 0], plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('births', [(0, 0), (0, 2)])
def test_distance_after_a_read_is_that_of_no_read(births):
    memory = SlotMemory(num_slots=4, selector=FIFOSelector(), reader=TopKReader(k=3)).eval()
    query = make_query(5)
    with torch.no_grad():
        state = memory.init(make_entry(0, objects=births.count(0)))
        for step in range(3):
            if step and births.count(step):
                state = memory.add_objects(state, births.count(step))
            state = memory.write(state, make_entry(step, objects=sum(birth <= step for birth in births)))
        before = memory.distance(state, query)
        _, state = memory.read(state, query)
        assert set(query.found) == {'nearest'}
        torch.testing.assert_close(memory.distance(state, query), before, rtol=1e-5, atol=1e-5)


def test_a_memory_without_keys_says_that_it_has_no_distances():
    model = tiny_model(dict(type='GlobalContextMemory'), presence=HEAD)
    with pytest.raises(TypeError, match=r'GlobalContextMemory keeps no keys of frames.*SlotMemory'):
        play(model)


def test_training_gates_by_the_truth_so_foreign_frames_are_not_stored():
    model = make_model(9.0).train()
    frames, sample = make_clip(0, length=5)
    sample.masks[2:4] = 0
    stored = []
    write = model.memory.write
    model.memory.write = lambda state, entry: (
        stored.append(entry.extras.get('presence')) or write(state, entry)
    )
    model(**make_batch(model, (frames, sample)), mode='loss')
    assert [None if p is None else p.tolist() for p in stored] == [None, [[1.0]], [[0.0]], [[0.0]]]


def test_weights_without_a_head_still_load_and_a_model_without_one_has_none_of_its_keys():
    plain = tiny_model()
    assert not any('presence' in key for key in plain.state_dict())
    missing = tiny_model(presence=HEAD).load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys and all(key.startswith('presence.') for key in missing.missing_keys)
    assert not missing.unexpected_keys
