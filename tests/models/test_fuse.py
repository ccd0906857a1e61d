"""Batch norms that become part of convolutions."""

import pytest
import timm
import torch
from helpers.vos_cases import make_clip, tiny_config, tiny_model
from mmengine.config import Config
from torch import nn

from mmstremn.apis import init_segmentor
from mmstremn.models import fuse_conv_bn


def with_random_statistics(model):
    g = torch.Generator().manual_seed(0)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(generator=g)
        norm.running_var.uniform_(0.5, 2, generator=g)
        norm.weight.data.uniform_(0.5, 2, generator=g)
        norm.bias.data.normal_(generator=g)
    return model.eval()


@pytest.mark.parametrize('name', ['test_resnet', 'mobilenetv2_050'])
def test_folded_batch_norms_leave_the_maps_as_they_are(name):
    model = with_random_statistics(timm.create_model(name, features_only=True))
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(image)
        assert fuse_conv_bn(model) == norms > 0
        after = model(image)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    for x, y in zip(before, after, strict=True):
        torch.testing.assert_close(y, x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_a_convolution_of_another_branch_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1)).eval()
    assert fuse_conv_bn(model) == 0


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match=r'training mode.*model\.eval'):
        fuse_conv_bn(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))


def probabilities(model):
    frames, sample = make_clip(0, length=8)
    frames = (
        (frames.permute(0, 2, 3, 1) * 255).byte()
        if frames.is_floating_point()
        else frames.permute(0, 2, 3, 1)
    )
    stream = model.eval().start(frames[0], sample.masks[0])
    return torch.stack([stream.probabilities(frame) for frame in frames[1:]])


def test_a_stream_of_a_fused_model_is_the_same():
    model = with_random_statistics(tiny_model())
    before = probabilities(model)
    fuse_conv_bn(model)
    torch.testing.assert_close(probabilities(model), before, rtol=0, atol=1e-4)


def test_a_stream_in_bfloat16_is_nearly_the_same():
    model = tiny_model()
    before = probabilities(model)
    model.precision = 'bfloat16'
    after = probabilities(model)
    assert after.dtype == torch.float32
    assert 0 < (after - before).abs().max() < 0.05


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be 'float32' or 'bfloat16', got 'half'"):
        tiny_model(precision='half')


def test_the_caller_keeps_its_config():
    cfg = Config(dict(model=tiny_config()))
    assert init_segmentor(cfg, precision='bfloat16').precision == 'bfloat16'
    assert 'precision' not in cfg.model
