"""The value encoder of video object segmentation: frame and masks to values (STCN, NeurIPS 2021)."""

import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from mmstremn.models.backbone import Backbone
from mmstremn.models.layers import ResidualBlock, to_positions
from mmstremn.registry import MODELS


@MODELS.register_module()
class ValueEncoder(nn.Module):
    """Values of every object from the frame, its mask and the other objects' masks, fused with the frame's
    key feature.

    Fusion as in STCN (hkchengrex/STCN model/modules.py): residual block, CBAM, residual block.

    Args:
        backbone: A backbone with 5 input channels whose first map has the stride of the key encoder's first.
        frame_channels: Channels of that map of the key encoder.
        value_channels: Cv.
        own_key_channels: If not 0, also a key of this width for every object (STM).
        hidden_channels: Width inside the two residual blocks, for small models; Cv if None.
    """

    def __init__(
        self,
        backbone: Backbone,
        frame_channels: int = 1024,
        value_channels: int = 256,
        own_key_channels: int = 0,
        hidden_channels: int | None = None,
    ):
        super().__init__()
        self.backbone, self.value_channels = backbone, value_channels
        joined = backbone.channels[0] + frame_channels
        self.fuse = ResidualBlock(joined, value_channels, hidden_channels=hidden_channels)
        self.attention = CbamModule(value_channels)
        self.attention.spatial.conv.bn = nn.Identity()  # a batch norm would mix the samples of a batch
        self.out = ResidualBlock(value_channels, value_channels, hidden_channels=hidden_channels)
        self.own_key = nn.Conv2d(value_channels, own_key_channels, 3, padding=1) if own_key_channels else None

    def forward(
        self, image: Tensor, masks: Tensor, others: Tensor, feature: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Encode.

        Args:
            image: (B, 3, H, W), normalised.
            masks: (B, O, H, W) probabilities.
            others: (B, O, H, W) those of all other objects, see :func:`masks_of_others`.
            feature: (B, C, h, w) of the key encoder, at the stride of the memory.

        Returns:
            Values (B, O, P, Cv), and the objects' own keys (B, O, P, Ck) or None.
        """
        objects = masks.shape[1]
        images = image[:, None].expand(-1, objects, -1, -1, -1)
        own = self.backbone(torch.cat([images, masks[:, :, None], others[:, :, None]], 2).flatten(0, 1))[0]
        fused = self.fuse.join(own, feature)
        value = self.out(fused + self.attention(fused))

        def split(x: Tensor) -> Tensor:
            return to_positions(x).unflatten(0, (-1, objects))

        return split(value), None if self.own_key is None else split(self.own_key(value))


def masks_of_others(masks: Tensor) -> Tensor:
    """For each object the probability that a pixel belongs to any other; (B, O, H, W) to (B, O, H, W)."""
    return (masks.sum(1, keepdim=True) - masks).clamp(0, 1)
