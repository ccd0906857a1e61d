"""The value encoders of the public STM, STCN, XMem and Cutie weights, layer by layer."""

import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from mmstremn.models.backbone import Backbone
from mmstremn.models.layers import ResidualBlock, to_positions
from mmstremn.models.segmentation.object_transformer import PixelFusion
from mmstremn.registry import MODELS


class FeatureFusion(nn.Module):
    """Joins features of objects and of their frame: residual block, CBAM, residual block.

    STCN (hkchengrex/STCN model/modules.py) and XMem (hkchengrex/XMem model/modules.py). Unlike
    ``ValueEncoder`` its attention has biases.

    Args:
        own_channels: Of the objects' features.
        shared_channels: Of the frame's.
        out_channels: C'.
    """

    def __init__(self, own_channels: int, shared_channels: int, out_channels: int):
        super().__init__()
        self.fuse = ResidualBlock(own_channels + shared_channels, out_channels, shortcut_size=3)
        self.attention = CbamModule(out_channels, mlp_bias=True)
        self.attention.spatial.add_module('conv', nn.Conv2d(2, 1, 7, padding=3))
        self.out = ResidualBlock(out_channels, out_channels)

    def forward(self, own: Tensor, shared: Tensor) -> Tensor:
        """(B * O, C1, h, w) and (B, C2, h, w) to (B * O, C', h, w)."""
        fused = self.fuse.join(own, shared)
        return self.out(fused + self.attention(fused))


@MODELS.register_module()
class STCNValueEncoder(nn.Module):
    """STCN's and XMem's: a backbone on frame and masks, fused with the key encoder's stride-16 map.

    Args:
        backbone: With 5 input channels, whose first map has stride 16.
        frame_channels: Of the key encoder's stride-16 map.
        value_channels: Cv.
    """

    fusion_class: type[nn.Module] = FeatureFusion

    def __init__(self, backbone: Backbone, frame_channels: int = 1024, value_channels: int = 512):
        super().__init__()
        self.backbone, self.value_channels = backbone, value_channels
        self.fusion = self.fusion_class(backbone.channels[0], frame_channels, value_channels)

    def forward(self, image: Tensor, masks: Tensor, others: Tensor, feature: Tensor) -> tuple[Tensor, None]:
        """As ``ValueEncoder``; there are no keys of objects."""
        value = self.fusion(self.backbone(frame_and_masks(image, masks, others))[0], feature)
        return to_positions(value).unflatten(0, masks.shape[:2]), None


@MODELS.register_module()
class CutieValueEncoder(STCNValueEncoder):
    """Cutie's (hkchengrex/Cutie model/big_modules.py): as STCN's, with another fusion."""

    fusion_class = PixelFusion


@MODELS.register_module()
class STMValueEncoder(nn.Module):
    """STM's: a backbone on frame and masks, and a projection each to a value and a key (seoungwugoh/STM
    model.py).

    Args:
        backbone: With 5 input channels, whose first map has stride 16.
        value_channels: Cv.
        own_key_channels: Ck.
    """

    def __init__(self, backbone: Backbone, value_channels: int = 512, own_key_channels: int = 128):
        super().__init__()
        self.backbone, self.value_channels = backbone, value_channels
        self.value = nn.Conv2d(backbone.channels[0], value_channels, 3, padding=1)
        self.own_key = nn.Conv2d(backbone.channels[0], own_key_channels, 3, padding=1)

    def forward(self, image: Tensor, masks: Tensor, others: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """As ``ValueEncoder``; ``feature`` is not used."""
        own = self.backbone(frame_and_masks(image, masks, others))[0]
        value, key = (
            to_positions(project(own)).unflatten(0, masks.shape[:2]) for project in (self.value, self.own_key)
        )
        return value, key


def frame_and_masks(image: Tensor, masks: Tensor, others: Tensor) -> Tensor:
    """(B, 3, H, W) and twice (B, O, H, W) to one picture of 5 channels per object, (B * O, 5, H, W)."""
    images = image[:, None].expand(-1, masks.shape[1], -1, -1, -1)
    return torch.cat([images, masks[:, :, None], others[:, :, None]], 2).flatten(0, 1)
