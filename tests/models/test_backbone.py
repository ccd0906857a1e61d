"""Any timm model as a backbone: maps by stride, weights from files, frozen batch norms."""

import pytest
import timm
import torch
from helpers.vos_cases import BACKBONES
from torch import nn

from mmstremn.models import TimmBackbone
from mmstremn.registry import MODELS

STRIDES = (16, 8, 4)


def image(height=48, width=80, channels=3, seed=0, batch=2):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('name', [*BACKBONES, 'test_mambaout', 'test_vit2'])
@pytest.mark.parametrize('strides', [STRIDES, (4, 8, 16), (16,), (8, 32)])
def test_maps_have_the_size_of_their_strides(name, strides):
    backbone = TimmBackbone(name, strides=strides)
    size = (48, 80) if max(strides) == 16 else (64, 96)
    maps = backbone(image(*size))
    assert len(maps) == len(strides)
    for feature, stride, channels in zip(maps, strides, backbone.channels, strict=True):
        assert feature.shape == (2, channels, size[0] // stride, size[1] // stride)
        assert feature.isfinite().all()


@pytest.mark.parametrize('name', ['test_resnet', 'test_convnext', 'test_efficientnet', 'test_mambaout'])
def test_maps_are_those_of_timm(name):
    """By stride, in the order asked for, though timm numbers them by depth."""
    torch.manual_seed(0)
    model = timm.create_model(name, features_only=True).eval()
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    backbone.model.load_state_dict(model.state_dict(), strict=False)
    expected = dict(zip(model.feature_info.reduction(), model(image()), strict=True))
    for feature, stride in zip(backbone(image()), STRIDES, strict=True):
        reference = expected[stride].permute(0, 3, 1, 2) if name == 'test_mambaout' else expected[stride]
        torch.testing.assert_close(feature, reference)
    assert not torch.equal(*(backbone(image(seed=s))[0] for s in (0, 1)))


def test_maps_of_a_vit_are_resampled_from_its_only_one():
    backbone = TimmBackbone('test_vit').eval()
    coarse, middle, fine = backbone(image())
    for feature in (middle, fine):
        expected = nn.functional.interpolate(coarse, feature.shape[-2:], mode='bilinear', align_corners=False)
        torch.testing.assert_close(feature, expected)


def test_a_vit_takes_any_size_and_any_patch():
    backbone = TimmBackbone('test_vit', patch_size=14).eval()
    assert [tuple(x.shape[-2:]) for x in backbone(image(32, 112))] == [(2, 7), (4, 14), (8, 28)]
    assert backbone.image_scale == 14 / 16


@pytest.mark.parametrize('name', [*BACKBONES, 'mobilenetv3_small_050'])
@pytest.mark.parametrize('strides', [STRIDES, (16,)])
def test_every_parameter_that_learns_gets_a_gradient(name, strides):
    backbone = TimmBackbone(name, strides=strides, in_channels=5).train()
    sum(feature.square().sum() for feature in backbone(image(channels=5))).backward()
    assert [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []


def test_layers_beyond_the_deepest_map_are_dropped():
    def depth(name, strides):
        return sum(p.numel() for p in TimmBackbone(name, strides=strides).parameters())

    for name in BACKBONES[:2] + BACKBONES[3:]:
        whole = sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())
        assert depth(name, (8, 4)) < depth(name, (16, 8, 4)) < 0.9 * whole


# Weights.


def save(path, name, seed=5):
    torch.manual_seed(seed)
    model = timm.create_model(name).eval()
    torch.save(model.state_dict(), path)
    return model


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('scheme', ['', 'file://'])
def test_a_local_checkpoint_is_loaded(name, scheme, tmp_path):
    model = save(tmp_path / 'weights.pth', name)
    torch.manual_seed(1)
    backbone = TimmBackbone(name, checkpoint=f'{scheme}{tmp_path}/weights.pth').eval()
    options = {} if 'vit' in name else dict(indices=None)
    expected = [x for x in model.forward_intermediates(image(160, 160), intermediates_only=True, **options)]
    coarse = backbone(image(160, 160))[0]
    expected = [x for x in expected if x.shape[-2:] == coarse.shape[-2:]][-1]
    torch.testing.assert_close(coarse, expected, rtol=1e-4, atol=1e-5)
    assert (coarse - TimmBackbone(name).eval()(image(160, 160))[0]).abs().max() > 1e-3


def test_a_checkpoint_wins_over_pretrained(tmp_path):
    save(tmp_path / 'weights.pth', 'test_resnet')
    both = TimmBackbone('test_resnet', pretrained=True, checkpoint=str(tmp_path / 'weights.pth')).eval()
    alone = TimmBackbone('test_resnet', checkpoint=str(tmp_path / 'weights.pth')).eval()
    torch.testing.assert_close(both(image())[0], alone(image())[0], rtol=0, atol=0)


def test_a_safetensors_checkpoint_is_loaded(tmp_path):
    from safetensors.torch import save_file

    model = save(tmp_path / 'weights.pth', 'test_convnext')
    save_file(model.state_dict(), str(tmp_path / 'weights.safetensors'))
    one, other = (
        TimmBackbone('test_convnext', checkpoint=str(tmp_path / f'weights.{s}'))
        for s in ('pth', 'safetensors')
    )
    torch.testing.assert_close(one.eval()(image())[0], other.eval()(image())[0], rtol=0, atol=0)


def test_a_url_is_loaded(tmp_path, monkeypatch):
    """Through timm's download; the network is replaced by a file."""
    model = save(tmp_path / 'weights.pth', 'test_resnet')
    asked = []
    monkeypatch.setattr(
        'timm.models._builder.load_state_dict_from_url',
        lambda url, **_: asked.append(url) or model.state_dict(),
    )
    backbone = TimmBackbone('test_resnet', checkpoint='https://example.org/weights.pth').eval()
    assert asked == ['https://example.org/weights.pth']
    local = TimmBackbone('test_resnet', checkpoint=str(tmp_path / 'weights.pth')).eval()
    torch.testing.assert_close(backbone(image())[0], local(image())[0], rtol=0, atol=0)


@pytest.mark.parametrize('other', ['test_convnext', 'resnet10t'])
def test_a_checkpoint_of_another_model_is_refused(other, tmp_path):
    save(tmp_path / 'other.pth', other)
    with pytest.raises(ValueError, match=r"checkpoint '.*other.pth' is not of 'test_resnet'"):
        TimmBackbone('test_resnet', checkpoint=str(tmp_path / 'other.pth'))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint '.*none.pth' of 'test_resnet' not found"):
        TimmBackbone('test_resnet', checkpoint=str(tmp_path / 'none.pth'))


def test_a_file_without_weights_is_named(tmp_path):
    (tmp_path / 'text.pth').write_text('no weights here')
    with pytest.raises(ValueError, match=r"checkpoint '.*text.pth' cannot be read: expected a state dict"):
        TimmBackbone('test_resnet', checkpoint=str(tmp_path / 'text.pth'))


def test_an_unknown_model_is_refused_with_similar_names():
    with pytest.raises(ValueError, match=r"no model 'resnet5000'; similar names: .*resnet50"):
        TimmBackbone('resnet5000')
    with pytest.raises(ValueError, match=r"no model 'qqqqqq'; similar names: none"):
        TimmBackbone('qqqqqq')


def test_an_unknown_argument_is_not_swallowed():
    with pytest.raises(TypeError, match=r'TimmBackbone\(test_resnet\)\.no_such_argument: .* zero_init_last'):
        TimmBackbone('test_resnet', no_such_argument=1)
    with pytest.raises(TypeError, match=r'\.zero_init_lats: there is no such argument\. .* zero_init_last\?'):
        TimmBackbone('test_resnet', zero_init_lats=False)
    with pytest.raises(TypeError, match=r'Did you mean frozen_bn\?'):
        MODELS.build(dict(type='TimmBackbone', model_name='test_vit', frozen_bns=False))


# Batch norm.


def norms(backbone):
    return [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize('name', ['test_resnet', 'test_efficientnet'])
@pytest.mark.parametrize('frozen', [True, False])
def test_frozen_batch_norms_stay(name, frozen):
    more = dict(zero_init_last=False) if name == 'test_resnet' else {}
    backbone = nn.Sequential(TimmBackbone(name, frozen_bn=frozen, **more))
    backbone.train()
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in norms(backbone)]
    optimizer = torch.optim.SGD(
        [p for p in backbone.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1
    )
    sum((feature - 1).square().mean() for feature in backbone(image(64, 64))).backward()
    optimizer.step()
    assert len(before) > 3
    assert all(m.training != frozen for m in norms(backbone))
    after = [m.state_dict() for m in norms(backbone)]
    same = [
        torch.equal(one[key], other[key]) for one, other in zip(before, after, strict=True) for key in one
    ]
    assert all(same) if frozen else not any(same)


def test_a_frozen_backbone_treats_samples_alone():
    backbone = TimmBackbone('test_resnet', zero_init_last=False).train()
    together = backbone(image(batch=3))[0]
    torch.testing.assert_close(backbone(image(batch=3)[1:2])[0], together[1:2], rtol=1e-4, atol=1e-5)


# More input channels.


@pytest.mark.parametrize('name', BACKBONES)
def test_more_channels_keep_what_the_first_three_do(name, tmp_path):
    save(tmp_path / 'weights.pth', name)
    three, five = (
        TimmBackbone(name, checkpoint=str(tmp_path / 'weights.pth'), in_channels=n).eval() for n in (3, 5)
    )
    zeros = torch.zeros(2, 2, 48, 80)
    for one, other in zip(three(image()), five(torch.cat([image(), zeros], 1)), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    changed = five(torch.cat([image(), zeros + 1], 1))[0]
    assert (changed - three(image())[0]).abs().max() > 1e-3
