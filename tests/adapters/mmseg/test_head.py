"""An mmsegmentation model with a memory: what it leaves as it was, what it remembers, what it refuses."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import torch
from helpers.mmseg_cases import (
    BACKBONE,
    CHANNELS,
    FCN,
    FIFO,
    PLAIN_PIPELINE,
    SIZE,
    build_data,
    build_model,
    losses,
    predict,
    remember,
    wake,
)
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmstremn.adapters.mmseg import FeatureMemory, FrameRequest
from mmstremn.memory import MEMORIES

ALL_LEVELS = dict(in_channels=list(CHANNELS), in_index=[0, 1, 2, 3], channels=8)
LAST = dict(in_channels=64, in_index=3, channels=8)
HEADS = {
    'fcn': FCN,
    'concatenated': FCN | dict(in_channels=[32, 64], in_index=[2, 3], input_transform='resize_concat'),
    'psp': LAST | dict(type='PSPHead', pool_scales=(1, 2)),
    'deeplabv3': LAST | dict(type='ASPPHead', dilations=(1, 2)),
    'deeplabv3plus': LAST
    | dict(type='DepthwiseSeparableASPPHead', dilations=(1, 2), c1_in_channels=8, c1_channels=4),
    'upernet': ALL_LEVELS | dict(type='UPerHead', pool_scales=(1, 2)),
    'segformer': ALL_LEVELS | dict(type='SegformerHead'),
    'danet': LAST | dict(type='DAHead', pam_channels=4),
    'encnet': dict(type='EncHead', in_channels=[64], in_index=[3], channels=8, num_codes=4),
    'semantic fpn': ALL_LEVELS | dict(type='FPNHead', feature_strides=[4, 8, 8, 8]),
    'ours': dict(
        type='mmstremn.MaskDecoderHead', in_channels=CHANNELS[:3], channels=(8, 8, 4), value_channels=8
    ),
}
STRIDED = BACKBONE | dict(
    strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1)
)  # our mask decoder wants strides 4, 8, 16


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(scope='module')
def videos():
    with DefaultScope.overwrite_default_scope('mmseg'):
        return build_data()


def clip(video, length=4, seed=1):
    return [FrameRequest(6 * video + index, seed) for index in range(length)]


def record(model):
    """The maps of level 3 that the inner head gets from now on."""
    taken, head = [], model.decode_head.head
    forward = head.forward
    head.forward = lambda inputs: taken.append(inputs[3]) or forward(inputs)
    return taken


def backbone_of(name):
    return STRIDED if name == 'ours' else BACKBONE


@pytest.mark.parametrize('name', HEADS)
def test_a_plain_checkpoint_gives_its_own_results_until_the_memory_has_learned(name, videos):
    plain = build_model(HEADS[name], backbone_of(name), seed=5)
    model = build_model(remember(HEADS[name]), backbone_of(name), seed=6)
    load_state_dict(model, plain.state_dict())
    frames = range(6)
    torch.testing.assert_close(predict(model, videos, frames), predict(plain, videos, frames))
    wake(model)
    logits = predict(model, videos, frames)
    torch.testing.assert_close(logits[0], predict(plain, videos, [0])[0])
    assert (logits[1:] - predict(plain, videos, frames)[1:]).abs().max() > 1e-3


@pytest.mark.parametrize('name', HEADS)
def test_clips_train_head_backbone_and_memory(name, videos):
    model = build_model(remember(HEADS[name]), backbone_of(name)).train()
    wake(model)
    model.parse_losses(losses(model, videos, clip(0) + clip(1)))[0].backward()
    learning = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    memory = {key for key, _ in model.named_parameters() if key.startswith('decode_head.feature_memory')}
    assert memory - {'decode_head.feature_memory.key.bias'} <= learning  # distances do not change by it
    assert any(key.startswith('decode_head.head') for key in learning)
    assert any(key.startswith('backbone.layer1') for key in learning)


def test_gradients_of_a_late_frame_reach_the_first_through_the_memory():
    torch.manual_seed(0)
    memory = FeatureMemory(6, FIFO, key_channels=4, value_channels=5).train()
    torch.nn.init.normal_(memory.out.weight)
    x = torch.randn(2 * 4, 6, 3, 4, requires_grad=True)
    out = memory.clips(x, 4)[0].unflatten(0, (2, 4))
    out[0, 3].sum().backward()
    reached = x.grad.unflatten(0, (2, 4)).abs().amax((2, 3, 4)) > 0
    assert reached.tolist() == [[True] * 4, [False] * 4]


def test_training_and_online_testing_compute_the_same(videos):
    model = build_model(remember(FCN, pool=2))
    wake(model)
    taken = record(model)
    losses(model, videos, clip(0) + clip(2))
    predict(model, videos, [0, 1, 2, 3, 12, 13, 14, 15])
    torch.testing.assert_close(taken[0], torch.cat(taken[1:]), rtol=1e-4, atol=1e-5)


def test_a_batch_may_hold_its_clips_interleaved(videos):
    model = build_model(remember(FCN))
    wake(model)
    together, mixed = (
        clip(0) + clip(1),
        [request for pair in zip(clip(0), clip(1), strict=True) for request in pair],
    )
    first, second = (losses(model, videos, requests)['decode.loss_ce'] for requests in (together, mixed))
    torch.testing.assert_close(first, second)


def test_two_clips_of_one_video_do_not_see_each_other(videos):
    model = build_model(remember(FCN))
    wake(model)
    taken = record(model)
    losses(model, videos, clip(0, seed=1) + clip(0, seed=2))
    torch.testing.assert_close(*taken[0].split(4))


def test_a_new_video_starts_anew_whatever_came_before(videos):
    model = build_model(remember(FCN))
    wake(model)
    after = predict(model, videos, [0, 1, 2, 6, 7, 8])[3:]
    torch.testing.assert_close(after, predict(model, videos, [6, 7, 8]))
    assert not torch.equal(predict(model, videos, [6, 7])[1], predict(model, videos, [0, 1])[1])


def test_a_batch_of_several_frames_is_read_in_order(videos):
    model = build_model(remember(FCN))
    wake(model)
    single = predict(model, videos, range(6))
    with torch.no_grad():
        batch = model.test_step(pseudo_collate([videos[i] for i in range(6)]))
    torch.testing.assert_close(
        single, torch.stack([sample.seg_logits.data for sample in batch]), rtol=1e-4, atol=1e-4
    )


def test_changing_the_mode_forgets_the_video(videos):
    model = build_model(remember(FCN))
    predict(model, videos, [0, 1])
    model.train()
    model.eval()
    with pytest.raises(ValueError, match='expected to begin with frame 0, got frame 2 after nothing'):
        predict(model, videos, [2])


def image_of(sample):
    """The sample without anything that tells of a video."""
    data = sample['data_samples']
    image = SegDataSample(
        metainfo={k: v for k, v in data.metainfo.items() if k not in ('video_name', 'frame_index')}
    )
    image.gt_sem_seg = data.gt_sem_seg
    return dict(inputs=sample['inputs'], data_samples=image)


def test_images_pass_the_memory_by(videos):
    model, plain = build_model(remember(FCN)), build_model(FCN)
    load_state_dict(model, plain.state_dict())
    wake(model)
    images = [image_of(videos[i]) for i in (3, 1, 7)]
    first, second = (
        m(
            **m.data_preprocessor(
                pseudo_collate(list(map(image_of, map(videos.__getitem__, (3, 1, 7))))), True
            ),
            mode='loss',
        )
        for m in (model, plain)
    )
    torch.testing.assert_close(first, second)
    with torch.no_grad():
        outputs = [m.test_step(pseudo_collate(images))[2].seg_logits.data for m in (model, plain)]
    torch.testing.assert_close(*outputs)
    with pytest.warns(UserWarning, match='passes its memory by'):
        torch.testing.assert_close(model(torch.ones(1, 3, *SIZE)), plain(torch.ones(1, 3, *SIZE)))


def test_images_and_frames_do_not_mix(videos):
    model = build_model(remember(FCN)).train()
    data = pseudo_collate([videos[0], image_of(videos[1])])
    with pytest.raises(ValueError, match=r"1 of the batch's 2 samples have no video_name"):
        model(**model.data_preprocessor(data, True), mode='loss')


def test_its_own_checkpoint_loads_strictly(videos):
    model, other = build_model(remember(FCN), seed=1), build_model(remember(FCN), seed=2)
    wake(model)
    load_state_dict(other, model.state_dict(), strict=True)
    torch.testing.assert_close(predict(model, videos, range(4)), predict(other, videos, range(4)))
    other.load_state_dict(model.state_dict())


@pytest.mark.parametrize('memory_class', MEMORIES, ids=lambda c: c.__name__)
def test_every_memory_serves(memory_class, videos):
    torch.manual_seed(0)
    model = build_model(remember(FCN, dict(type=memory_class.__name__)))
    wake(model)
    logits = predict(model, videos, range(4))
    assert logits.isfinite().all()
    assert not torch.equal(logits, predict(build_model(FCN), videos, range(4)))
    model.parse_losses(losses(model.train(), videos, clip(0)))[0].backward()
    assert model.decode_head.feature_memory.reduce.weight.grad.any()


# What is refused.


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        ([0, 1, 3], "video 'train_00000': expected frame 2 after 1, got 3"),
        ([0, 1, 1], 'expected frame 2 after 1, got 1'),
        ([0, 2], 'expected frame 1 after 0, got 2'),
        ([1], 'expected to begin with frame 0, got frame 1 after nothing'),
        (
            [0, 7],
            "video 'train_00001': expected to begin with frame 0, got frame 1 after frame 0 of 'train_00000'",
        ),
    ],
)
def test_frames_out_of_order_are_refused(frames, message, videos):
    with pytest.raises(ValueError, match=message + r'.*VideoSampler'):
        predict(build_model(remember(FCN)), videos, frames)


@pytest.mark.parametrize('frame', [None, '1', 1.0, -1, float('nan')], ids=repr)
@pytest.mark.parametrize('training', [True, False])
def test_a_frame_without_a_place_in_its_video_is_refused(frame, training, videos):
    model, data = build_model(remember(FCN)), pseudo_collate([videos[0]])
    data['data_samples'][0].set_metainfo(dict(frame_index=frame))
    with pytest.raises(ValueError, match=r"video 'train_00000': .* frame_index, a whole number .* got "):
        model(**model.data_preprocessor(data, training), mode='loss' if training else 'predict')
    data['data_samples'][0].set_metainfo(dict(video_name=['v'], frame_index=0))
    with pytest.raises(ValueError, match=r"video_name: expected the name of a video, got \['v'\]"):
        model(**model.data_preprocessor(data, training), mode='loss' if training else 'predict')


def test_augmented_versions_of_a_frame_are_refused_unless_it_is_one(videos):
    model = build_model(remember(FCN))
    wake(model)
    expected = predict(model, videos, range(3))
    for flips in ([0.0], [0.0, 1.0]):
        versions = [[dict(type='RandomFlip', prob=prob) for prob in flips], [dict(type='PackSegInputs')]]
        data = build_data([PLAIN_PIPELINE[0], dict(type='TestTimeAug', transforms=versions)])
        tested = MODELS.build(dict(type='SegTTAModel', module=model))
        if len(flips) == 1:
            found = [tested.test_step(pseudo_collate([data[i]]))[0].pred_sem_seg.data for i in range(3)]
            assert torch.equal(torch.cat(found), expected.argmax(1))
            continue
        tested.test_step(pseudo_collate([data[0]]))
        with pytest.raises(ValueError, match='neither test-time augmentation'):
            tested.test_step(pseudo_collate([data[1]]))


def test_clips_out_of_order_or_of_several_lengths_are_refused(videos):
    model = build_model(remember(FCN)).train()
    with pytest.raises(
        ValueError, match=r"video 'train_00000': expected the frames of a clip in ascending order, got \[1, 0"
    ):
        losses(model, videos, [FrameRequest(i, 1) for i in (1, 0, 2)])
    with pytest.raises(ValueError, match='train_00000: 3, train_00001: 2'):
        losses(model, videos, clip(0, 3) + clip(1, 2))


def test_a_changed_image_size_is_refused(videos):
    model = build_model(remember(FCN))
    larger = build_data(size=(48, 48))
    predict(model, videos, [0, 1])
    with pytest.raises(
        ValueError, match=r"'train_00000': the image size changed from \(32, 48\) to \(48, 48\).*at frame 2"
    ):
        predict(model, larger, [2])


def test_sliding_windows_are_refused(videos):
    model = build_model(remember(FCN), test_cfg=dict(mode='slide', crop_size=SIZE, stride=(16, 16)))
    with pytest.raises(
        ValueError, match=r"test_cfg.mode='slide'.*expected model.test_cfg=dict\(mode='whole'\)"
    ):
        predict(model, videos, [0])
    with pytest.raises(ValueError, match=r"test_cfg.mode='slide'"):  # not after the whole training
        losses(model.train(), videos, clip(0, 3))


def test_what_leaves_the_memory_untrained_is_said(videos):
    model = build_model(remember(FCN)).train()
    with pytest.warns(
        UserWarning, match='clips of a single frame, its memory is not trained. Train on clips'
    ):
        losses(model, videos, clip(0, 1))
    data = model.data_preprocessor(pseudo_collate([image_of(videos[0])] * 2), True)
    with pytest.warns(UserWarning, match='are images, its memory is not trained. Train on clips'):
        model(**data, mode='loss')


def test_arguments_of_the_inner_head_and_several_heads_are_refused():
    with pytest.raises(TypeError, match=r'has no num_classes: .* in it \(decode_head.head.num_classes\)'):
        MODELS.build(remember(FCN, num_classes=5))
    with pytest.raises(
        TypeError, match='expected the config of one head, got a list: the heads of a cascade'
    ):
        MODELS.build(remember([FCN, FCN]))


@pytest.mark.parametrize(
    ('head', 'message'),
    [
        (
            dict(type='OCRHead', in_channels=64, in_index=3, channels=8, ocr_channels=8),
            "'OCRHead': it is a stage of a cascade",
        ),
        (dict(type='PIDHead', in_channels=64, channels=8), "'PIDHead': its inputs are not the same maps"),
        (dict(type='ResNet', depth=18), "'ResNet': it classifies masks or is no BaseDecodeHead"),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_unsupported_heads_are_refused(head, message):
    extra = {} if head['type'] == 'ResNet' else dict(num_classes=5, norm_cfg=dict(type='BN'))
    with pytest.raises(
        ValueError, match=f'MemoryDecodeHead cannot wrap {message}.*expected a head such as FCNHead'
    ):
        MODELS.build(remember(head | extra))


def test_a_level_that_the_head_does_not_take_is_refused():
    with pytest.raises(ValueError, match=r"one of the levels \[3\] that 'FCNHead' takes, got 2"):
        build_model(remember(FCN, level=2))


def test_another_level_is_changed_where_asked(videos):
    model = build_model(remember(HEADS['upernet'], level=1))
    wake(model)
    assert model.decode_head.feature_memory.out.out_channels == CHANNELS[1]
    assert predict(model, videos, range(3)).isfinite().all()


def test_a_cascade_is_refused(videos):
    model = build_model(remember(FCN))
    with pytest.raises(TypeError, match='cannot be a stage of CascadeEncoderDecoder'):
        model.decode_head([torch.zeros(1, 64, 4, 6)] * 4, torch.zeros(1, 5, 4, 6))


def test_what_the_memory_adds_is_in_the_losses():
    data, head = build_data(), remember(FCN, dict(type='STLSTMMemory', kernel=3, decoupling=0.1))
    requests = [FrameRequest(index, 1) for index in range(4)]
    found = losses(build_model(head).train(), data, requests)
    assert found['decode.loss_decoupling'] > 0
    plain = losses(build_model(remember(FCN)).train(), data, requests)
    assert set(found) - set(plain) == {'decode.loss_decoupling'}


def test_the_documented_clips_teach_the_selector(monkeypatch):
    """``dict(type='SlotMemory')`` and clips of 4 frames learn; where slots are too many it is said."""
    logged, requests = [], [FrameRequest(index, 1) for index in range(4)]
    monkeypatch.setattr('mmstremn.models.rollout.print_log', lambda message, *args: logged.append(message))
    model = build_model(remember(FCN, dict(type='SlotMemory'))).train()
    wake(model)
    model.parse_losses(losses(model, build_data(), requests))[0].backward()
    weights = dict(model.decode_head.feature_memory.memory.selector.named_parameters())
    assert [name for name, p in weights.items() if not p.grad.any()] == [] and not logged
    model = build_model(remember(FCN, dict(type='SlotMemory', train_slots=5))).train()
    losses(model, build_data(), requests)
    assert '3 frames offered, 5 slots, 0 forced choices' in logged[0]
