"""Key encoder and value encoder of space-time memory networks (STM, ICCV 2019; STCN, NeurIPS 2021)."""

import itertools
from dataclasses import dataclass

import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from mmstremn.memory import Query
from mmstremn.models.foreign_backbone import with_strides
from mmstremn.models.layers import ResidualBlock, to_positions
from mmstremn.registry import MODELS


@dataclass
class FrameFeatures:
    """Everything that is computed from a frame alone.

    Attributes:
        image: (B, 3, H, W), normalised.
        maps: Feature maps (B, C, H / s, W / s) at the backbone's strides; the first is the memory's grid.
        query: What the frame asks the memory; its key is also the frame's key when it is stored.
        shrinkage: (B, P) of the frame as an entry, or None.
        present: (B, O) bool, False for objects that only pad a training batch; None: all are present.
        blank: (left, right, top, bottom) pixels of padding in which no object is when the frame is stored;
            None: the decoder's masks count there too.
    """

    image: Tensor
    maps: tuple[Tensor, ...]
    query: Query
    shrinkage: Tensor | None
    present: Tensor | None = None
    blank: tuple[int, int, int, int] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the memory: the frame at its stride."""
        return tuple(self.maps[0].shape[-2:])

    def frame(self, index: int, length: int) -> 'FrameFeatures':
        """One frame of clips of ``length`` frames that were encoded as one batch (B * T, ...)."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.unflatten(0, (-1, length))[:, index]

        query = Query(pick(self.query.key), pick(self.query.selection))
        maps = tuple(pick(x) for x in self.maps)
        return FrameFeatures(pick(self.image), maps, query, pick(self.shrinkage), self.present, self.blank)


class KeyEncoder(nn.Module):
    """Backbone, and a projection of its first map to keys: its stride is that of the memory's grid.

    Args:
        backbone: Gives maps, coarsest first; one of another library is wrapped in :class:`StridedBackbone`.
        key_channels: Ck; 0 for memories that use no keys.
        selection: Also give the selection and the shrinkage of XMem's anisotropic L2 (ECCV 2022, section
            3.4).
    """

    def __init__(self, backbone: nn.Module, key_channels: int = 64, selection: bool = False):
        super().__init__()
        self.backbone = with_strides(backbone)
        width = self.backbone.channels[0]
        self.key = None
        if key_channels:
            self.key = nn.Conv2d(width, key_channels, 3, padding=1)
            nn.init.orthogonal_(self.key.weight)
            nn.init.zeros_(self.key.bias)
        self.selection = nn.Conv2d(width, key_channels, 3, padding=1) if selection else None
        self.shrinkage = nn.Conv2d(width, 1, 3, padding=1) if selection else None

    def forward(self, image: Tensor) -> FrameFeatures:
        """Encode (B, 3, H, W) frames."""
        maps = self.backbone(image)
        key = maps[0][:, :0] if self.key is None else self.key(maps[0])
        query, shrinkage = Query(to_positions(key)), None
        if self.selection is not None:
            query.selection = to_positions(self.selection(maps[0])).sigmoid()
            shrinkage = to_positions(self.shrinkage(maps[0])).squeeze(-1).square() + 1
        return FrameFeatures(image, maps, query, shrinkage)


def falling_strides(backbone: nn.Module) -> tuple[int, ...]:
    """The strides of a backbone's maps, coarsest first; (16, 8, 4) if it has ``channels`` and does not say
    its strides.

    Raises:
        ValueError: They are no falling powers of 2.
    """
    strides = tuple(getattr(backbone, 'strides', (16, 8, 4)))
    whole = all(isinstance(stride, int) and stride > 0 and stride & (stride - 1) == 0 for stride in strides)
    if not strides or not whole or any(a <= b for a, b in itertools.pairwise(strides)):
        raise ValueError(
            f'{type(backbone).__name__}.strides of the key encoder: expected falling powers of 2, such as '
            '(16, 8, 4), got '
            f'{strides}'
        )
    return strides


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
        backbone: nn.Module,
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
