"""Any timm model as a backbone that gives feature maps at chosen strides."""

import difflib
import inspect
import math
from typing import Any, Protocol

import timm
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from timm.models import load_state_dict
from torch import Tensor, nn

from mmstremn.registry import MODELS, check_names


class Backbone(Protocol):
    """Gives feature maps of images, coarsest first.

    Attributes:
        channels: Of the maps.
    """

    channels: tuple[int, ...]

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) to maps (N, C', H / s, W / s)."""


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """Feature maps of a timm ``features_only`` model, chosen by stride and not by index.

    A stride that the model does not have (ViTs have one) is resampled bilinearly from its nearest map. A
    model whose strides are no powers of 2 (ViTs with patches of 14 pixels) sees frames that are scaled so
    that they become ones. Layers beyond the deepest map used are dropped.

    Args:
        model_name: A name of ``timm.list_models()``.
        pretrained: Load the weights that timm names for the model from the hub.
        checkpoint: A local file (a path or ``file://...``) or a URL (``http...``) of weights in timm's
            format; wins over ``pretrained``.
        strides: The strides wanted, ascending or descending; forward returns them in this order.
        in_channels: More than 3: the first convolution gets further input channels with small random weights.
        frozen_bn: Batch norms keep their statistics and weights. A ResNet without weights needs
            ``zero_init_last=False`` beside it: norms that begin at 0 would silence its branches for good.
        **kwargs: Passed on to ``timm.create_model``.

    Attributes:
        channels: (C, ...) of the maps, in the order of ``strides``.
        divisor: The sides of images are multiples of it: the largest stride, or that of the map it is
            resampled from.

    Raises:
        ValueError: Unknown model name, strides below 1 or none, a checkpoint of another model, or one that
            cannot be read.
        FileNotFoundError: No such checkpoint file.
        TypeError: timm's model has no such argument.
    """

    def __init__(
        self,
        model_name: str = 'resnet50',
        pretrained: bool = False,
        checkpoint: str | None = None,
        strides: tuple[int, ...] = (16, 8, 4),
        in_channels: int = 3,
        frozen_bn: bool = True,
        **kwargs,
    ):
        super().__init__()
        self.strides, self.frozen_bn = tuple(strides), frozen_bn
        if not strides or min(strides) < 1:
            raise ValueError(f'TimmBackbone.strides must be one or more strides of at least 1, got {strides}')
        info = _create(model_name, kwargs).feature_info
        self.image_scale = info.reduction()[0] / 2 ** round(math.log2(info.reduction()[0]))
        reductions = [reduction / self.image_scale for reduction in info.reduction()]
        wanted = [_nearest(reductions, stride) for stride in self.strides]
        indices = sorted(set(wanted))
        positions = [info.out_indices[i] for i in indices]
        kwargs = dict(kwargs, out_indices=positions)
        self.model = _load(model_name, pretrained, checkpoint, kwargs)
        self.channels_last = getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC'
        self.picks = [indices.index(i) for i in wanted]
        self.scales = [reductions[i] / stride for i, stride in zip(wanted, self.strides, strict=True)]
        self.channels = tuple(info.channels()[i] for i in wanted)
        self.divisor = max(*self.strides, *(round(reductions[i]) for i in wanted))
        self._drop_unused(kwargs.get('img_size') or self.model.default_cfg['input_size'][-2:])
        if in_channels > 3:
            _widen_input(self.model, in_channels)
        if frozen_bn:
            for parameter in (p for m in _batch_norms(self.model) for p in m.parameters()):
                parameter.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Switch the mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_bn:
            for module in _batch_norms(self.model):
                module.eval()
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Feature maps.

        Args:
            image: (N, C, H, W), normalised; H and W multiples of ``divisor``.

        Returns:
            For each stride s a map (N, C', H / s, W / s).
        """
        height, width = image.shape[-2:]
        if self.image_scale != 1:
            size = (round(height * self.image_scale), round(width * self.image_scale))
            image = F.interpolate(image, size, mode='bilinear', align_corners=False)
        maps = self.model(image)
        out = []
        for pick, scale, stride in zip(self.picks, self.scales, self.strides, strict=True):
            feature = maps[pick].permute(0, 3, 1, 2) if self.channels_last else maps[pick]
            if scale != 1:
                size = (height // stride, width // stride)
                feature = F.interpolate(feature, size, mode='bilinear', align_corners=False)
            out.append(feature)
        return tuple(out)

    def _drop_unused(self, size: int | tuple[int, int]) -> None:
        """Drop the layers of sequences that no map depends on.

        Some of timm's models keep their deepest layers, which would cost time and get no gradient.
        """
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        maps = self.eval()(
            torch.zeros(1, 3, *(max(1, n // self.divisor) * self.divisor for n in (height, width)))
        )
        parameters = list(self.parameters())
        gradients = torch.autograd.grad(sum(x.sum() for x in maps), parameters, allow_unused=True)
        unused = {
            parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is None
        }
        for sequence in [m for m in self.modules() if isinstance(m, nn.Sequential)]:
            for name, layer in sequence.named_children():
                own = set(layer.parameters())
                if own and own <= unused:
                    setattr(sequence, name, nn.Identity())


def _create(model_name: str, kwargs: dict, **more) -> Any:
    if not timm.is_model(model_name):
        close = difflib.get_close_matches(model_name.split('.')[0], timm.list_models(), n=5)
        raise ValueError(f"timm has no model '{model_name}'; similar names: {', '.join(close) or 'none'}")
    options = dict(features_only=True, **more, **kwargs)
    try:
        return timm.create_model(model_name, dynamic_img_size=True, **options)
    except TypeError:  # only vision transformers know the argument
        pass
    try:
        return timm.create_model(model_name, **options)
    except TypeError as error:
        _check_arguments(model_name, [name for name in kwargs if f"'{name}'" in str(error)])
        raise


def _check_arguments(model_name: str, refused: list[str]) -> None:
    """Raise a TypeError that names an argument that timm has refused, and those of the model's class."""
    if refused:
        model = type(timm.create_model(model_name))
        own = [name for name in inspect.signature(TimmBackbone).parameters if name != 'kwargs']
        takes = [*own, *inspect.signature(model).parameters]
        check_names(f'TimmBackbone({model_name})', refused, [name for name in takes if name not in refused])


def _nearest(reductions: list[float], stride: int) -> int:
    """The index of the map to use for a stride: the deepest of the nearest."""
    distance = [abs(reduction / stride - 1) for reduction in reductions]
    return max(i for i, d in enumerate(distance) if d == min(distance))


def _load(model_name: str, pretrained: bool, checkpoint: str | None, kwargs: dict) -> Any:
    if checkpoint is None:
        return _create(model_name, kwargs, pretrained=pretrained)
    if checkpoint.startswith(('http://', 'https://')):
        return _create(
            model_name, kwargs, pretrained=True, pretrained_cfg_overlay=dict(url=checkpoint, hf_hub_id=None)
        )
    checkpoint = checkpoint.removeprefix('file://')
    try:
        names = {_plain(name) for name in load_state_dict(checkpoint)}
    except FileNotFoundError:
        raise FileNotFoundError(
            f"backbone checkpoint '{checkpoint}' of '{model_name}' not found: expected weights in timm's "
            f"format there, as torch.save(timm.create_model('{model_name}', pretrained=True).state_dict(), "
            'FILE) writes them (docs/data_preparation.md), or checkpoint=None where those of the whole model '
            'are loaded, as in vos/stremn_r18.py'
        ) from None
    except Exception as error:  # whatever unpickling meets
        raise ValueError(
            f"backbone checkpoint '{checkpoint}' cannot be read: expected a state dict ({error!r})"
        ) from error
    try:
        model = _create(model_name, kwargs, pretrained=True, pretrained_cfg_overlay=dict(file=checkpoint))
    except RuntimeError as error:
        raise ValueError(f"backbone checkpoint '{checkpoint}' is not of '{model_name}': {error}") from error
    expected = {_plain(name.removeprefix('model.')) for name in model.state_dict()}
    missing = sorted(expected - names)
    if len(missing) > len(expected) / 2:
        raise ValueError(
            f"backbone checkpoint '{checkpoint}' is not of '{model_name}': {len(missing)} of "
            f'{len(expected)} weights '
            f'missing, such as {", ".join(missing[:3])}'
        )
    if missing:
        print_log(
            f"'{checkpoint}' lacks {len(missing)} weights of '{model_name}': {', '.join(missing[:5])}",
            'current',
        )
    return model


def _plain(name: str) -> str:
    """timm's feature wrappers flatten the dots of some names."""
    return name.replace('.', '_')


def _batch_norms(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _widen_input(model: nn.Module, in_channels: int) -> None:
    """Give the first convolution ``in_channels`` inputs; what it does with the first three stays."""
    old = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    weight = old.weight.data
    extra = torch.randn(weight.shape[0], in_channels - weight.shape[1], *weight.shape[2:]) * weight.std()
    old.weight = nn.Parameter(torch.cat([weight, extra], 1))
    old.in_channels = in_channels
