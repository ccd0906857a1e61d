"""Backbones of mmsegmentation in our segmentor; our backbone and our mask decoder in models of
mmsegmentation."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import torch
from helpers.mmseg_cases import BACKBONE, FCN, SIZE, build_data, build_model, losses, predict, remember
from helpers.vos_cases import make_batch, make_clip, tiny_config
from mmengine.registry import DefaultScope
from torch import nn

from mmstremn.adapters.mmseg import FrameRequest
from mmstremn.models.foreign_backbone import StridedBackbone
from mmstremn.registry import MODELS

MIT = dict(
    type='mmseg.MixVisionTransformer',
    embed_dims=8,
    num_stages=4,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 1, 2, 2],
    sr_ratios=[8, 4, 2, 1],
    out_indices=(0, 1, 2, 3),
)
RESNET = {**BACKBONE, 'type': 'mmseg.ResNetV1c'}  # strides 4, 8, 8, 8
SWIN = dict(
    type='mmseg.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4
)
MOBILENET = dict(type='mmseg.MobileNetV2', widen_factor=0.1, out_indices=(1, 2, 4, 6))


@pytest.mark.parametrize('backbone', [MIT, RESNET, SWIN, MOBILENET], ids=lambda b: b['type'])
def test_any_backbone_of_mmsegmentation_serves_in_vos(backbone):
    torch.manual_seed(0)
    model = MODELS.build(tiny_config() | dict(backbone=backbone))
    encoder = model.key_encoder.backbone
    maps = encoder(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, (16, 8, 4), strict=True)
    ]
    model.parse_losses(model.train()(**make_batch(model, make_clip(0), make_clip(1)), mode='loss'))[
        0
    ].backward()
    used = [p.grad is not None and bool(p.grad.any()) for p in encoder.parameters()]
    assert sum(used) > len(used) / 2


def test_a_value_backbone_of_mmsegmentation_gets_its_input_channels():
    value = dict(type='StridedBackbone', backbone=RESNET)
    model = MODELS.build(tiny_config() | dict(value_backbone=value))
    assert model.value_encoder.backbone.channels == (64,)
    model.parse_losses(model.train()(**make_batch(model, make_clip(0)), mode='loss'))[0].backward()


def test_nested_configs_are_left_to_their_library(tmp_path):
    torch.manual_seed(1)
    source = MODELS.build(
        dict(type='mmseg.MixVisionTransformer') | {k: v for k, v in MIT.items() if k != 'type'}
    )
    torch.save(source.state_dict(), tmp_path / 'mit.pth')
    pretrained = MIT | dict(
        norm_cfg=dict(type='LN', eps=1e-5),
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth')),
    )
    model = MODELS.build(tiny_config() | dict(backbone=pretrained))
    loaded = model.key_encoder.backbone.model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())


def test_a_backbone_without_maps_is_refused():
    with pytest.raises(TypeError, match='Flatten: expected a backbone that gives a list of maps'):
        StridedBackbone(nn.Flatten())


def test_our_backbone_serves_in_mmsegmentation():
    with DefaultScope.overwrite_default_scope('mmseg'):
        videos = build_data()
        backbone = dict(type='mmstremn.TimmBackbone', model_name='test_resnet', strides=(4, 8, 16, 32))
        channels = MODELS.build(backbone).channels
        for head in (FCN | dict(in_channels=channels[3]), remember(FCN | dict(in_channels=channels[3]))):
            model = build_model(head, backbone)
            assert predict(model, videos, [0, 1, 2]).shape == (3, 5, *SIZE)
            model.parse_losses(losses(model.train(), videos, [FrameRequest(i, 0) for i in range(3)]))[
                0
            ].backward()
            assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


def test_our_mask_decoder_learns_classes_in_mmsegmentation():
    with DefaultScope.overwrite_default_scope('mmseg'):
        videos = build_data(num_videos=1, num_frames=2)
        head = dict(
            type='mmstremn.MaskDecoderHead', in_channels=(8, 16, 32), channels=(16, 16, 8), value_channels=16
        )
        model = build_model(head, BACKBONE | dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 1))).train()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        history = []
        for _ in range(25):
            loss = model.parse_losses(losses(model, videos, [0, 1]))[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
    assert history[-1] < 0.6 * history[0]


def test_a_mask_decoder_wants_three_maps():
    with pytest.raises(ValueError, match='expected three in_channels, channels and in_index'):
        MODELS.build(dict(type='mmstremn.MaskDecoderHead', in_channels=(8, 16), num_classes=3))
