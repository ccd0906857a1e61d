"""Backbones of other libraries where ours are expected."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.backbone import Backbone, _nearest, _widen_input
from mmstremn.registry import MODELS

PROBE = 128  # pixels of the picture on which strides are measured


@MODELS.register_module()
class StridedBackbone(nn.Module):
    """Gives the maps of any backbone by their strides, as :class:`TimmBackbone` does.

    ``KeyEncoder`` wraps backbones without ``channels`` in it, so
    ``backbone=dict(type='mmseg.MixVisionTransformer', ...)`` is all that ``VOSegmentor`` needs. Name it where
    arguments are filled in: ``value_backbone=dict(type='StridedBackbone', backbone=dict(type='mmseg.ResNet',
    ...))``. Weights that the backbone's ``init_cfg`` names are loaded here.

    Args:
        backbone: A module from images (N, 3, H, W) to a list of maps, one per stage. As a config it must have
            a scope.
        strides: The strides wanted; one that it does not have is resampled bilinearly from the nearest.
        in_channels: More than 3: the first convolution gets further input channels with small random weights.

    Attributes:
        channels: (C, ...) of the maps, in the order of ``strides``.

    Raises:
        TypeError: The backbone does not give a list of maps.
    """

    def __init__(self, backbone: Any, strides: tuple[int, ...] = (16, 8, 4), in_channels: int = 3):
        super().__init__()
        if hasattr(backbone, 'init_weights'):
            backbone.init_weights()
        self.model, self.strides = backbone, tuple(strides)
        maps = self._probe()
        found = [PROBE / x.shape[-1] for x in maps]
        self.picks = [_nearest(found, stride) for stride in self.strides]
        self.same = [found[pick] == stride for pick, stride in zip(self.picks, self.strides, strict=True)]
        self.channels = tuple(maps[pick].shape[1] for pick in self.picks)
        if in_channels > 3:
            _widen_input(self.model, in_channels)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """For each stride s a map (N, C', H / s, W / s) of images (N, C, H, W)."""
        maps, (height, width) = self.model(image), image.shape[-2:]
        out = []
        for pick, stride, same in zip(self.picks, self.strides, self.same, strict=True):
            size = (height // stride, width // stride)
            out.append(
                maps[pick] if same else F.interpolate(maps[pick], size, mode='bilinear', align_corners=False)
            )
        return tuple(out)

    @torch.no_grad()
    def _probe(self) -> Sequence[Tensor]:
        self.model.eval()  # some backbones return None from it
        maps = self.model(torch.zeros(1, 3, PROBE, PROBE))
        self.model.train()
        if not isinstance(maps, (list, tuple)) or not all(
            isinstance(x, Tensor) and x.dim() == 4 for x in maps
        ):
            raise TypeError(
                f'{type(self.model).__name__}: expected a backbone that gives a list of maps (N, C, h, w), '
                f'got {type(maps)}'
            )
        return maps


def with_strides(backbone: Any) -> Backbone:
    """The backbone, wrapped if it does not say its channels."""
    return backbone if hasattr(backbone, 'channels') else StridedBackbone(backbone)
