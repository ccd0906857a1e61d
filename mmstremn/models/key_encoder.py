"""The key encoder of space-time memory networks (STM, ICCV 2019; STCN, NeurIPS 2021), of both tasks."""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from mmstremn.memory import Query
from mmstremn.models.backbone import Backbone
from mmstremn.models.foreign_backbone import with_strides
from mmstremn.models.layers import size_of, to_positions


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
        distance: (B, G, P) of ``Memory.distance``, for models that have a presence head.
        visible: (B, O) bool, which objects the frame shows, where that is known (in training).
        tokens: (B, O, N, C) of ``Memory.object_tokens``, for decoders that read tokens.
    """

    image: Tensor
    maps: tuple[Tensor, ...]
    query: Query
    shrinkage: Tensor | None
    present: Tensor | None = None
    blank: tuple[int, int, int, int] | None = None
    distance: Tensor | None = None
    visible: Tensor | None = None
    tokens: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the memory: the frame at its stride."""
        return size_of(self.maps[0])

    def frame(self, index: int, length: int) -> 'FrameFeatures':
        """One frame of clips of ``length`` frames that were encoded as one batch (B * T, ...)."""

        def pick(x: Tensor) -> Tensor:
            return x.unflatten(0, (-1, length))[:, index]

        def pick_some(x: Tensor | None) -> Tensor | None:
            return None if x is None else pick(x)

        query = Query(pick(self.query.key), pick_some(self.query.selection))
        maps, shrinkage = tuple(pick(x) for x in self.maps), pick_some(self.shrinkage)
        return FrameFeatures(pick(self.image), maps, query, shrinkage, self.present, self.blank)


class KeyEncoder(nn.Module):
    """Backbone, and a projection of its first map to keys: its stride is that of the memory's grid.

    Args:
        backbone: Gives maps, coarsest first; one of another library is wrapped in :class:`StridedBackbone`.
        key_channels: Ck; 0 for memories that use no keys.
        selection: Also give the selection and the shrinkage of XMem's anisotropic L2 (ECCV 2022, section
            3.4).
        projection: If not 0, the width to which the first map is projected, once for the keys and once for
            all that follows (Cutie).

    Attributes:
        channels: Of the maps that it gives.
    """

    def __init__(
        self, backbone: Backbone, key_channels: int = 64, selection: bool = False, projection: int = 0
    ):
        super().__init__()
        self.backbone = with_strides(backbone)
        first, *others = self.backbone.channels
        width = projection or first
        self.channels = (width, *others)
        self.project_key: nn.Module = nn.Conv2d(first, projection, 1) if projection else nn.Identity()
        self.project_map: nn.Module = nn.Conv2d(first, projection, 1) if projection else nn.Identity()
        self.key = None
        if key_channels:
            self.key = nn.Conv2d(width, key_channels, 3, padding=1)
            nn.init.orthogonal_(self.key.weight)
            nn.init.constant_(self.key.get_parameter('bias'), 0)
        self.selection = nn.Conv2d(width, key_channels, 3, padding=1) if selection else None
        self.shrinkage = nn.Conv2d(width, 1, 3, padding=1) if selection else None

    def forward(self, image: Tensor) -> FrameFeatures:
        """Encode (B, 3, H, W) frames."""
        first, *others = self.backbone(image)
        maps, feature = (self.project_map(first), *others), self.project_key(first)
        key = feature[:, :0] if self.key is None else self.key(feature)
        query, shrinkage = Query(to_positions(key)), None
        if self.selection is not None and self.shrinkage is not None:
            query.selection = to_positions(self.selection(feature)).sigmoid()
            shrinkage = to_positions(self.shrinkage(feature)).squeeze(-1).square() + 1
        return FrameFeatures(image, maps, query, shrinkage)


def decreasing_strides(backbone: Backbone) -> tuple[int, ...]:
    """The strides of a backbone's maps, coarsest first; (16, 8, 4) if it has ``channels`` and does not say
    its strides.

    Raises:
        ValueError: They are no decreasing powers of 2.
    """
    strides = tuple(getattr(backbone, 'strides', (16, 8, 4)))
    whole = all(isinstance(stride, int) and stride > 0 and stride & (stride - 1) == 0 for stride in strides)
    if not strides or not whole or any(a <= b for a, b in itertools.pairwise(strides)):
        raise ValueError(
            f'{type(backbone).__name__}.strides of the key encoder: expected decreasing powers of 2, such as '
            '(16, 8, 4), got '
            f'{strides}'
        )
    return strides
