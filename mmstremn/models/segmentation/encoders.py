"""The value encoder of video object segmentation: frame and masks to values (STCN, NeurIPS 2021)."""

from collections.abc import Callable

import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from mmstremn.models.backbone import Backbone
from mmstremn.models.layers import ResidualBlock, to_positions
from mmstremn.registry import MODELS

EncodeValue = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]  # masks of objects and of others


class SharingValueEncoder(nn.Module):
    """Base of the value encoders that compute once, in ``of_frame``, what the objects of a frame share."""

    def of_frame(self, image: Tensor, feature: Tensor) -> EncodeValue:
        """The encoder of one frame.

        Args:
            image: (B, 3, H, W), normalised.
            feature: (B, C, h, w) of the key encoder, at the stride of the memory.

        Returns:
            A function of probabilities (B, O, H, W), of any objects: of their masks and those of all other
            objects (see :func:`masks_of_others`), to values (B, O, P, Cv) and the objects' own keys (B, O, P,
            Ck) or None.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement of_frame(image, feature)')

    def forward(
        self, image: Tensor, masks: Tensor, others: Tensor, feature: Tensor | EncodeValue
    ) -> tuple[Tensor, Tensor | None]:
        """Encode masks with the frame's feature, or with what :meth:`of_frame` made of it."""
        return (self.of_frame(image, feature) if isinstance(feature, Tensor) else feature)(masks, others)


@MODELS.register_module()
class ValueEncoder(SharingValueEncoder):
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

    def of_frame(self, image: Tensor, feature: Tensor) -> EncodeValue:
        """As of :class:`SharingValueEncoder`."""
        join = self.fuse.join(feature)

        def encode(masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor | None]:
            fused = join(self.backbone(frame_and_masks(image, masks, others))[0])
            value = self.out(fused + self.attention(fused))
            own_key = None if self.own_key is None else self.own_key(value)
            return split_objects(value, masks), None if own_key is None else split_objects(own_key, masks)

        return encode


def value_encoder_of_frame(encoder: nn.Module, image: Tensor, feature: Tensor) -> EncodeValue:
    """``encoder(image, masks, others, feature)`` as a function of the masks; an encoder that has ``of_frame``
    computes once what the objects share."""
    of_frame = getattr(encoder, 'of_frame', None)
    shared = feature if of_frame is None else of_frame(image, feature)
    return lambda masks, others: encoder(image, masks, others, shared)


def frame_and_masks(image: Tensor, masks: Tensor, others: Tensor) -> Tensor:
    """(B, 3, H, W) and twice (B, O, H, W) to one picture of 5 channels per object, (B * O, 5, H, W)."""
    images = image[:, None].expand(-1, masks.shape[1], -1, -1, -1)
    return torch.cat([images, masks[:, :, None], others[:, :, None]], 2).flatten(0, 1)


def split_objects(x: Tensor, masks: Tensor) -> Tensor:
    """(B * O, C, h, w) to (B, O, P, C), for masks (B, O, H, W)."""
    return to_positions(x).unflatten(0, masks.shape[:2])


def masks_of_others(masks: Tensor) -> Tensor:
    """For each object the probability that a pixel belongs to any other; (B, O, H, W) to (B, O, H, W)."""
    return (masks.sum(1, keepdim=True) - masks).clamp(0, 1)
