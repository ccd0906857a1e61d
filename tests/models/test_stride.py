"""The stride of the memory's grid, which the strides of the key encoder's backbone decide."""

import numpy as np
import pytest
import torch
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo, make_batch, make_clip, make_sample, tiny_config, tiny_model
from mmengine.config import Config

from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.plan import set_memory
from mmstremn.comparison.plots import split_name
from mmstremn.models import TimmBackbone
from mmstremn.registry import MODELS, build
from mmstremn.utils.palette import decode_palette_png

GRIDS = {8: (8, 4), 16: (16, 8, 4), 32: (32, 16, 8, 4), 2: (2,), 4: (4, 1)}
STRIDES = pytest.mark.parametrize('stride', [8, 16, 32])
SLOTS = dict(type='SlotMemory', num_slots=2)
MEMORIES = [
    SLOTS,
    dict(SLOTS, reader=dict(type='LocalWindowReader', radius=1)),
    dict(SLOTS, reader=dict(type='KernelizedReader', sigma=2.0)),
    dict(type='GrowingMemory'),
    dict(type='CompressiveMemory'),
    dict(type='BlendedMemory'),
    dict(type='ConvLSTMMemory', hidden_channels=8),
]
WIDTHS = (16, 8, 8, 8)
ODD = (37, 45)
STUDY = str(ROOT / 'studies/stride/memories.py')


def strided(stride, memory=SLOTS, backbone='test_resnet', **kwargs):
    """A tiny model whose memory has this stride."""
    strides = GRIDS[stride]
    config = tiny_config(memory, backbone, **kwargs)
    config['backbone'].update(strides=strides)
    config['decoder'].update(channels=WIDTHS[: len(strides)])
    torch.manual_seed(0)
    model = MODELS.build(config)
    with torch.no_grad():
        model.decoder.predict.weight.mul_(5)  # predictions with structure, as of tiny_model
    return model


def with_parts(**changes):
    """Build a tiny model with other arguments."""
    return MODELS.build(tiny_config() | changes)


def resnet(**kwargs):
    return dict(type='TimmBackbone', model_name='test_resnet', zero_init_last=False, **kwargs)


# Training.


@pytest.mark.parametrize('backbone', ['test_resnet', 'test_vit'])
@STRIDES
def test_loss_and_gradients(stride, backbone):
    """Also of a ViT, whose only map has stride 16."""
    model = strided(stride, backbone=backbone).train()
    clips = [make_clip(0, 1, 4, ODD), make_clip(1, 2, 4, ODD)]
    loss = sum(model(**make_batch(model, *clips), mode='loss').values())
    loss.backward()
    assert loss.isfinite()
    learning = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [
        name for name, gradient in learning.items() if gradient is None or not gradient.isfinite().all()
    ] == []
    for part in (
        'key_encoder.key',
        'key_encoder.backbone',
        'value_encoder.backbone',
        'decoder.blocks',
        'decoder.skips',
    ):
        gradients = [gradient for name, gradient in learning.items() if name.startswith(part)]
        assert gradients and any((gradient != 0).any() for gradient in gradients), part


@pytest.mark.parametrize('stride', GRIDS)
def test_grid_has_the_stride_and_logits_those_of_the_frame(stride):
    model = strided(stride).train()
    batch = make_batch(model, make_clip(0, 2, 3, ODD))
    height, width = batch['inputs'].shape[-2:]
    assert (height, width) == tuple(-(-n // stride) * stride for n in ODD)
    features = model.encode_frame(batch['inputs'][:, 0])
    assert features.grid == (height // stride, width // stride)
    assert model.clip_logits(**batch).shape == (1, 3, 3, height, width)


@STRIDES
def test_the_model_learns_a_clip(stride):
    model = strided(stride).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    batch, losses = make_batch(model, make_clip(0, 1, 3)), []
    for _ in range(15):
        loss = sum(model(**batch, mode='loss').values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_stride_16_is_the_default():
    default, named = tiny_model(SLOTS), strided(16)
    assert default.data_preprocessor.size_divisor == named.data_preprocessor.size_divisor == 16
    assert default.state_dict().keys() == named.state_dict().keys()
    assert all(torch.equal(value, named.state_dict()[name]) for name, value in default.state_dict().items())


# Streams.


@pytest.mark.parametrize('padding', ['end', 'centre', 'black'])
@STRIDES
def test_streams_of_any_size_and_padding(stride, padding):
    preprocessor = dict(type='VOSDataPreprocessor', padding=padding)
    model = strided(stride, data_preprocessor=preprocessor, short_side=33).eval()
    video = SquaresVideo(5, ODD, appear=(0, 2))
    stream = model.start(video.frame(0), video.mask(0))
    for index in range(1, 5):
        given = video.prompts.get(index)
        ids = stream.step(video.frame(index), given)
        assert ids.shape == ODD
        if given is not None:
            assert (
                ids[torch.from_numpy(given == 6)] == 6
            ).float().mean() > 0.8  # of a mask that was scaled to 33 rows
    height, width = (-(-n // stride) for n in (33, round(45 * 33 / 37)))
    assert stream.state.grid == (height, width)
    sample = model([video], [make_sample(video)], mode='predict')[0]
    assert np.array_equal(decode_palette_png(sample.pred_masks[-1]), ids.numpy())


@STRIDES
def test_the_masks_of_a_clip_lie_where_its_frames_lie(stride):
    model = strided(stride, data_preprocessor=dict(type='VOSDataPreprocessor', padding='centre')).eval()
    frames, sample = make_clip(0, 2, 2, ODD)
    batch = make_batch(model, (frames, sample))
    left, right, top, bottom = model.data_preprocessor.margins(ODD)
    assert (ODD[0] + top + bottom) % stride == (ODD[1] + left + right) % stride == 0
    assert max(right - left, bottom - top) <= 1
    ids = model.clip_logits(**batch)[0, 0].argmax(0)
    assert torch.equal(ids[top : top + ODD[0], left : left + ODD[1]], sample.masks[0])


@pytest.mark.parametrize('memory', MEMORIES, ids=lambda memory: memory['type'])
def test_bytes_are_those_of_the_grid(memory):
    """Twice the stride, a quarter of the positions; what is not per position (stamps, counts) is little and
    stays."""
    video, found = SquaresVideo(4, (64, 64)), []
    for stride in (8, 16, 32):
        stream = strided(stride, memory).eval().start(video.frame(0), video.mask(0))
        for index in range(1, 4):
            stream.step(video.frame(index))
        found.append({name: tensor.nbytes for name, tensor in stream.state.tensors().items()})
    fine, middle, coarse = found
    assert fine.keys() == middle.keys() == coarse.keys()
    on_grid = [name for name in fine if fine[name] != coarse[name]]
    assert all(fine[name] == 4 * middle[name] == 16 * coarse[name] for name in on_grid)
    assert sum(fine[name] for name in on_grid) > 0.98 * sum(fine.values())


def test_a_backbone_that_needs_more_than_the_stride_gets_it():
    vit, other = (
        strided(8, backbone='test_vit'),
        strided(8, value_backbone=dict(type='TimmBackbone', model_name='test_vit')),
    )
    assert strided(8).data_preprocessor.size_divisor == 8
    for model in (vit, other):
        assert model.data_preprocessor.size_divisor == 16
        video = SquaresVideo(2, ODD)
        assert model.eval().start(video.frame(0), video.mask(0)).state.grid == (6, 6)


# Errors.


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(backbone=resnet(strides=(8, 4))),
            r'decoder.channels: expected 2 widths.*\(8, 4\), got \(16, 8, 8\)',
        ),
        (dict(backbone=resnet(strides=(32, 16, 8, 4))), r'decoder.channels: expected 4 widths'),
        (
            dict(backbone=resnet(strides=(4, 8, 16))),
            r'TimmBackbone.strides.*decreasing powers of 2.*got \(4, 8, 16\)',
        ),
        (dict(backbone=resnet(strides=(16, 16, 8))), r'decreasing powers of 2.*got \(16, 16, 8\)'),
        (dict(backbone=resnet(strides=(12, 8, 4))), r'decreasing powers of 2.*got \(12, 8, 4\)'),
        (
            dict(backbone=resnet(strides=())),
            r'TimmBackbone.strides must be one or more strides of at least 1, got \(\)',
        ),
        (dict(backbone=resnet(strides=(16, 0))), r'at least 1, got \(16, 0\)'),
        (
            dict(data_preprocessor=dict(type='VOSDataPreprocessor', size_divisor=24)),
            'expected a multiple of 16.*got 24',
        ),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        with_parts(**changes)


@pytest.mark.parametrize('name', ['STMDecoder', 'STCNDecoder', 'XMemDecoder'])
def test_decoders_of_public_weights_refuse_other_strides(name):
    decoder = dict(type=name, channels=(8, 8, 8))
    with pytest.raises(
        ValueError, match=r'expect maps at strides \(16, 8, 4\), got \(8, 4, 2\); MaskDecoder takes others'
    ):
        with_parts(backbone=resnet(strides=(8, 4, 2)), decoder=decoder)


def test_a_stream_of_another_stride_is_not_continued(tmp_path):
    fine, coarse = strided(8).eval(), strided(16).eval()
    video = SquaresVideo(2, (32, 32))
    fine.start(video.frame(0), video.mask(0)).save(tmp_path / 'stream.safetensors')
    with pytest.raises(ValueError, match="stream of a model with stride 8, but this one's is 16"):
        coarse.load_stream(tmp_path / 'stream.safetensors')
    assert fine.load_stream(tmp_path / 'stream.safetensors').state.grid == (4, 4)


def test_padding_to_more_than_the_stride_is_allowed():
    model = strided(8, data_preprocessor=dict(type='VOSDataPreprocessor', size_divisor=32))
    assert make_batch(model, make_clip(0, 1, 2, ODD))['inputs'].shape[-2:] == (64, 64)


# The study.


def test_rows_of_the_study_differ_in_stride_and_slots():
    names = load_memories(STUDY)
    sizes = {}
    for name, entry in names.items():
        cfg = Config(dict(model=tiny_config()))
        set_memory(cfg, entry)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).eval()
        rule, stride = split_name(name)
        assert model.key_encoder.backbone.strides[0] == stride
        assert model.value_encoder.backbone.strides == (stride,)
        assert rule == f'slots_{model.memory.num_slots}_stride'
        video = SquaresVideo(2, (64, 64))
        state = model.start(video.frame(0), video.mask(0)).state
        sizes[name] = state.key.nbytes + state.value.nbytes
    assert sizes['slots_4_stride_8'] == sizes['slots_16_stride_16'] == 4 * sizes['slots_4_stride_16']
    assert sizes['slots_4_stride_16'] == sizes['slots_16_stride_32'] == 4 * sizes['slots_4_stride_32']


def test_decoders_of_other_libraries_and_tests_need_no_strides():
    """The decoder alone has the strides 16, 8, 4, as before."""
    decoder = build(
        dict(type='MaskDecoder', value_channels=4, feature_channels=(4, 4, 4), channels=(4, 4, 4))
    )
    maps = tuple(torch.zeros(1, 4, 8 * k, 4 * k) for k in (1, 2, 4))
    assert decoder(torch.zeros(1, 2, 32, 4), maps)[0].shape == (1, 2, 128, 64)


@pytest.mark.parametrize('strides, divisor', [((16, 8, 4), 16), ((8,), 8), ((32, 4), 32)])
def test_divisor_of_a_backbone(strides, divisor):
    assert TimmBackbone('test_convnext', strides=strides).divisor == divisor
    assert TimmBackbone('test_vit', strides=strides).divisor == max(16, divisor)
