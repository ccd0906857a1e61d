"""The value encoders of the public STM, STCN, XMem and Cutie weights, layer by layer."""

from collections.abc import Callable

from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from mmstremn.models.backbone import Backbone
from mmstremn.models.layers import ResidualBlock
from mmstremn.models.segmentation.encoders import (
    EncodeValue,
    SharingValueEncoder,
    frame_and_masks,
    split_objects,
)
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

    def join(self, shared: Tensor) -> Callable[[Tensor], Tensor]:
        """For the frame's (B, C2, h, w): objects' features (B * O, C1, h, w) to (B * O, C', h, w)."""
        fuse = self.fuse.join(shared)

        def join(own: Tensor) -> Tensor:
            fused = fuse(own)
            return self.out(fused + self.attention(fused))

        return join


@MODELS.register_module()
class STCNValueEncoder(SharingValueEncoder):
    """STCN's and XMem's: a backbone on frame and masks, fused with the key encoder's stride-16 map.

    Args:
        backbone: With 5 input channels, whose first map has stride 16.
        frame_channels: Of the key encoder's stride-16 map.
        value_channels: Cv.
    """

    fusion_class: type[FeatureFusion | PixelFusion] = FeatureFusion

    def __init__(self, backbone: Backbone, frame_channels: int = 1024, value_channels: int = 512):
        super().__init__()
        self.backbone, self.value_channels = backbone, value_channels
        self.fusion = self.fusion_class(backbone.channels[0], frame_channels, value_channels)

    def of_frame(self, image: Tensor, feature: Tensor) -> EncodeValue:
        """As ``ValueEncoder``; there are no keys of objects."""
        join = self.fusion.join(feature)

        def encode(masks: Tensor, others: Tensor) -> tuple[Tensor, None]:
            return split_objects(join(self.backbone(frame_and_masks(image, masks, others))[0]), masks), None

        return encode


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
        return split_objects(self.value(own), masks), split_objects(self.own_key(own), masks)
