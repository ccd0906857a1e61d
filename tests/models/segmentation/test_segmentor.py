"""The segmentor in training: batches of any make-up, gradients, frozen parts; and prediction of whole
videos."""

import re
import weakref

import numpy as np
import pytest
import torch
from helpers.vos_cases import BACKBONES, SquaresVideo, make_batch, make_clip, make_sample, tiny_model

from mmstremn.memory import MEMORIES as MEMORY_CLASSES, SlotMemory
from mmstremn.models import aggregate
from mmstremn.models.segmentation import segmentor
from mmstremn.models.segmentation.clip import stack_masks
from mmstremn.models.segmentation.decoders import Segmentation
from mmstremn.utils.palette import decode_palette_png

ANISOTROPIC = dict(type='DenseReader', affinity=dict(type='AnisotropicL2Affinity'))
MEMORIES = {
    'slots': dict(type='SlotMemory', num_slots=2),
    'slots, own keys': dict(type='SlotMemory', num_slots=2, per_object_key=True),
    'slots, anisotropic': dict(type='SlotMemory', num_slots=2, reader=ANISOTROPIC),
    'slots, anisotropic, own keys': dict(
        type='SlotMemory', num_slots=2, reader=ANISOTROPIC, per_object_key=True
    ),
    'stcn': dict(type='GrowingMemory'),
    'stm': dict(type='GrowingMemory', keep_last=True, per_object_key=True),
    'growing, anisotropic': dict(type='GrowingMemory', reader=ANISOTROPIC),
}
ALL_MEMORIES = pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())


def total_loss(model, *clips):
    return sum(model(**make_batch(model, *clips), mode='loss').values())


def as_arrays(sample):
    return np.stack([decode_palette_png(png) for png in sample.pred_masks])


# Training.


@ALL_MEMORIES
def test_the_loss_of_a_sample_does_not_depend_on_its_batch(memory):
    """Batches of clips with different numbers of objects: the loss is the mean of the single ones."""
    model = tiny_model(memory).train()
    clips = [make_clip(0, 1, 5), make_clip(1, 3, 5), make_clip(2, 2, 5)]
    with torch.no_grad():
        together = total_loss(model, *clips)
        alone = torch.stack([total_loss(model, clip) for clip in clips])
    assert together.isfinite()
    torch.testing.assert_close(together, alone.mean(), rtol=1e-5, atol=1e-5)
    assert alone.unique().numel() == 3


def test_gradients_of_a_batch_are_the_mean_of_its_samples():
    """What two processes with one clip each add up to."""
    model = tiny_model(MEMORIES['slots']).train()
    clips = [make_clip(0, 1, 5), make_clip(1, 3, 5)]

    def gradients(*clips):
        model.zero_grad()
        total_loss(model, *clips).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    together, first, second = gradients(*clips), gradients(clips[0]), gradients(clips[1])
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, (first[name] + second[name]) / 2, rtol=1e-4, atol=1e-5, msg=name)


@ALL_MEMORIES
def test_gradients_reach_all_parameters_that_learn(memory):
    """So that distributed training needs no search for unused parameters."""
    model = tiny_model(memory).train()
    total_loss(model, make_clip(0, 1, 6), make_clip(1, 2, 6)).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if 'attention.channel' not in name:  # CBAM has one hidden unit at this width, maybe a dead one
            assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize('memory', ['slots', 'stm'])
def test_every_parameter_has_a_gradient_also_where_nothing_is_chosen(memory):
    """A clip shorter than the slots, a single frame after the first, an object that fills no pixel."""
    model = tiny_model(MEMORIES[memory] | (dict(num_slots=4) if memory == 'slots' else {})).train()
    frames, sample = make_clip(0, 2, 2)
    sample.masks[sample.masks == 2] = 0
    total_loss(model, (frames, sample)).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize('backbone', BACKBONES)
def test_a_step_of_training_with_every_family_of_backbones(backbone):
    model = tiny_model(MEMORIES['slots'], backbone).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    clips, losses = [make_clip(0, 1, 4), make_clip(1, 2, 4)], []
    before = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(4):
        loss = total_loss(model, *clips)
        optimizer.zero_grad()
        loss.backward()
        assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    changed = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    parts = ('key_encoder', 'value_encoder', 'decoder', 'memory')
    moved = [part for part in parts if any(n.startswith(part) for n in changed)]
    assert moved == ['key_encoder', 'value_encoder', 'decoder', 'memory']
    video = SquaresVideo(4)
    assert as_arrays(model.eval()([video], [make_sample(video)], mode='predict')[0]).shape == (4, 40, 56)


def test_the_model_learns_a_clip():
    model = tiny_model(MEMORIES['slots']).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    clip = make_clip(0, 2, 4)
    losses = []
    for _ in range(40):
        loss = total_loss(model, clip)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.4 * losses[0]  # choices are drawn, so single losses jump


def test_the_loss_knows_the_iteration():
    model = tiny_model(loss=dict(type='BootstrappedCEDiceLoss', begin_iter=10, end_iter=20)).train()
    early, late = (
        model(**make_batch(model, make_clip(0)), mode='loss', iteration=number) for number in (10, 20)
    )
    assert late['loss_ce'] > early['loss_ce']
    torch.testing.assert_close(late['loss_dice'], early['loss_dice'])


def test_the_same_seed_gives_the_same_loss_and_another_seed_another():
    model = tiny_model(dict(type='SlotMemory', num_slots=2, gates=[])).train()
    with torch.no_grad():
        one, same = (total_loss(model, make_clip(0, 1, 8)) for _ in range(2))
        others = [total_loss(model, make_clip(0, 1, 8, sample_seed=seed)) for seed in range(5)]
    assert one == same
    assert any(other != one for other in others)


def test_tensor_mode_gives_logits_of_all_frames():
    model = tiny_model().train()
    frames, sample = make_clip(0, 2, 4, size=(40, 56))
    batch = make_batch(model, (frames, sample), make_clip(1, 1, 4, size=(40, 56)))
    assert batch['inputs'].shape == (2, 4, 3, 48, 64)
    logits = model(**batch)
    assert logits.shape == (2, 4, 3, 48, 64)
    assert (logits[:, 0].argmax(1)[0, :40, :56] == sample.masks[0]).all()  # the given masks
    assert logits[1].softmax(1)[:, 2].max() < 1e-5  # the object that only pads


@pytest.mark.parametrize('own_keys', [False, True])
def test_objects_that_pad_a_batch_have_zero_values(own_keys):
    """So a selector that sums over objects does not see them."""
    model = tiny_model(dict(type='SlotMemory', num_slots=2, per_object_key=own_keys)).eval()
    features = model.encode_frame(torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    features.present = torch.tensor([[True, False], [True, True]])
    entry = model.encode_value(features, Segmentation(torch.zeros(2, 3, 32, 48)), prompted=True)
    assert (entry.value[0, 1] == 0).all()
    assert all((entry.value[sample, index] != 0).any() for sample, index in ((0, 0), (1, 0), (1, 1)))
    assert entry.prompted
    assert entry.key.shape[1] == (2 if own_keys else 1)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        tiny_model()(None, mode='train')


def test_padded_pixels_are_void():
    _, sample = make_clip(0, 1, 2, size=(40, 56))
    masks, present = stack_masks([sample], (48, 64))
    assert (masks[..., 40:, :] == 255).all()
    assert (masks[..., 56:] == 255).all()
    assert torch.equal(masks[..., :40, :56], sample.masks[None])
    assert present.tolist() == [[True]]


def test_void_pixels_of_a_clip_do_not_train():
    model = tiny_model().train()
    frames, sample = make_clip(0, 1, 3)
    sample.masks[1:, :, :24] = 255
    logits = model.clip_logits(**make_batch(model, (frames, sample)))
    logits.retain_grad()
    target, present = stack_masks([sample], (32, 48))
    sum(model.loss_function(logits[:, 1:], target[:, 1:], present).values()).backward()
    assert (logits.grad[..., :24] == 0).all()
    assert (logits.grad[:, 1:, :, :, 24:] != 0).any()


def test_objects_compete_in_a_distribution():
    p = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    odds = [(1 - p).prod(1) / (1 - (1 - p).prod(1))] + [p[:, i] / (1 - p[:, i]) for i in range(3)]
    expected = torch.stack(odds, 1) / sum(odds)[:, None]
    torch.testing.assert_close(aggregate(p).softmax(1), expected, rtol=1e-5, atol=1e-5)
    certain = aggregate(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).softmax(1).flatten()
    torch.testing.assert_close(certain, torch.tensor([0.0, 0.0, 1.0]), rtol=0, atol=1e-5)


def test_frozen_parts_stay_in_evaluation_and_learn_nothing():
    memory = MEMORIES['slots']
    model = tiny_model(memory, frozen=('memory.selector', 'key_encoder.backbone')).train()
    assert model.training
    assert not any(m.training for m in model.memory.selector.modules())
    assert not any(m.training for m in model.key_encoder.backbone.modules())
    assert model.value_encoder.training
    total_loss(model, make_clip(0, 1, 5)).backward()
    for name, parameter in model.named_parameters():
        if name.startswith(model.frozen):
            assert not parameter.requires_grad
            assert parameter.grad is None
    assert model.key_encoder.key.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    'name, message',
    [
        ('memory.selecter', 'Did you mean memory.selector?'),
        ('memory.selectr', 'Did you mean memory.selector?'),
        ('xyz', "no part 'xyz'. Parts are data_preprocessor, memory, key_encoder,"),
    ],
)
def test_a_part_to_freeze_that_is_misspelt_is_named(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny_model(MEMORIES['slots'], frozen=(name,))


@pytest.mark.parametrize('kind', [kind for kind in MEMORY_CLASSES if kind is not SlotMemory])
def test_a_memory_swapped_in_needs_no_other_list_of_frozen_parts(kind, monkeypatch):
    """``--cfg-options model.memory._delete_=True model.memory.type=...`` where the selector is frozen."""
    logged = []
    monkeypatch.setattr(segmentor, 'print_log', lambda message, *args: logged.append(message))
    model = tiny_model(dict(type=kind.__name__), frozen=('memory.selector', 'decoder'))
    assert model.frozen == ('decoder',)
    assert logged == [f"frozen: {kind.__name__} has no part 'memory.selector', which is left out"]


def test_frozen_batch_norms_stay_in_a_model_that_trains():
    model = tiny_model().train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert not any(m.training for m in norms)


# Prediction.


@ALL_MEMORIES
def test_predict_segments_a_video(memory):
    """An odd size, an object that appears late, void pixels."""
    video = SquaresVideo(9, size=(37, 53), appear=(0, 4), void=True)
    sample = make_sample(video)
    model = tiny_model(memory).eval()
    result = model([video], [sample], mode='predict')
    assert result == [sample]
    masks = as_arrays(sample)
    assert masks.shape == (9, 37, 53)
    assert set(np.unique(masks)) <= {0, 3, 6}
    assert not (masks[:4] == 6).any()
    assert (masks[4][video.mask(4) == 6] == 6).all()  # the given mask, in the frame where it is given
    expected = np.where(video.mask(0) == 255, 0, video.mask(0))
    assert (masks[0] == expected).all()
    assert sample.frame_seconds > 0
    if memory['type'] == 'SlotMemory':
        assert sample.slot_timeline.shape == (9, 2)
        assert sample.slot_timeline[0].tolist() == [0, -1]
        assert sample.slot_timeline.max(0).max() <= 8
    else:
        assert 'slot_timeline' not in sample


def test_places_of_a_bank_are_no_slots():
    """MergingMemory stamps each of its positions; no timeline is drawn of thousands of them."""
    video = SquaresVideo()
    sample = make_sample(video)
    tiny_model(dict(type='MergingMemory', capacity=2)).eval()([video], [sample], mode='predict')
    assert 'slot_timeline' not in sample


def test_predictions_differ_from_the_first_mask():
    """Otherwise the tests here would see nothing."""
    video = SquaresVideo(6, appear=(0, 2))
    sample = make_sample(video)
    tiny_model().eval().predict([video], [sample])
    masks = as_arrays(sample)
    assert len({mask.tobytes() for mask in masks}) > 3


@pytest.mark.parametrize('memory', ['slots', 'stm'])
@pytest.mark.parametrize('short_side', [None, 32])
def test_streaming_equals_predict(memory, short_side):
    model = tiny_model(MEMORIES[memory], short_side=short_side).eval()
    video = SquaresVideo(7, size=(41, 58), appear=(0, 3))
    sample = make_sample(video)
    model.predict([video], [sample])
    stream = model.start(video.frame(0), video.mask(0))
    masks = [video.mask(0)]
    for index in range(1, 7):
        new = np.where(video.mask(index) == 6, 6, 0) if index == 3 else None
        masks.append(stream.step(video.frame(index), new).numpy())
    assert (np.stack(masks)[1:] == as_arrays(sample)[1:]).all()


def test_streaming_equals_a_clip_in_training():
    """One loop: the logits of a clip without real choices and the stream of its frames agree."""
    model = tiny_model(dict(type='SlotMemory', num_slots=6))
    frames, sample = make_clip(0, 2, 5, size=(32, 48))
    with torch.no_grad():
        clip = model.train().clip_logits(**make_batch(model, (frames, sample))).argmax(2)[0]
    frames = frames.permute(0, 2, 3, 1)
    stream = model.start(frames[0], sample.masks[0])
    for index in range(1, 5):
        assert (stream.step(frames[index]) == clip[index]).float().mean() > 0.999


def test_frames_before_the_first_object_are_empty():
    video = SquaresVideo(6, appear=(2,))
    sample = make_sample(video)
    tiny_model().eval().predict([video], [sample])
    masks = as_arrays(sample)
    assert (masks[:2] == 0).all()
    assert (masks[2] == video.mask(2)).all()
    assert sample.slot_timeline[:3].tolist() == [[-1, -1, -1], [-1, -1, -1], [2, -1, -1]]


def test_a_video_without_objects_is_named():
    video = SquaresVideo(3, appear=())
    with pytest.raises(ValueError, match="video 'squares0' has no annotated object"):
        tiny_model().eval().predict([video], [make_sample(video)])


def test_short_side_limits_the_size_of_the_computation():
    model = tiny_model(short_side=32).eval()
    large, small = SquaresVideo(3, size=(64, 96)), SquaresVideo(3, size=(24, 40))
    for video, grid in ((large, (2, 3)), (small, (2, 3))):
        stream = model.start(video.frame(0), video.mask(0))
        assert stream.state.grid == grid
        assert stream.step(video.frame(1)).shape == video.size


def test_prediction_ignores_what_is_after_the_frame():
    """No ground truth reaches the model but the prompts: other masks later change nothing."""
    model = tiny_model().eval()
    video, other = SquaresVideo(6), SquaresVideo(6)
    other.mask = lambda index: video.mask(0) if index == 0 else np.roll(video.mask(index), 9)
    samples = [make_sample(video), make_sample(other)]
    model.predict([video, other], samples)
    assert samples[0].pred_masks == samples[1].pred_masks


def test_videos_do_not_influence_each_other():
    model = tiny_model().eval()
    videos = [SquaresVideo(4, seed=s) for s in range(2)]
    together = [make_sample(v) for v in videos]
    model.predict(videos, together)
    for video, sample in zip(videos, together, strict=True):
        alone = make_sample(video)
        model.predict([video], [alone])
        assert alone.pred_masks == sample.pred_masks


class CountingVideo(SquaresVideo):
    """Knows how many of its decoded frames are alive."""

    alive = most = 0

    def frame(self, index):
        frame = np.asarray(super().frame(index)).view(Frame)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(frame, self._gone)
        return frame

    def _gone(self):
        self.alive -= 1


class Frame(np.ndarray):
    """An array that may be referenced weakly."""


@pytest.mark.parametrize('memory', ['slots', 'stm'])
def test_a_video_never_holds_more_than_a_few_decoded_frames(memory):
    video = CountingVideo(30, size=(32, 32))
    sample = make_sample(video)
    tiny_model(MEMORIES[memory]).eval().predict([video], [sample])
    assert 1 <= video.most <= 5
    assert video.alive <= 1
