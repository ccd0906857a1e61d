"""The two track heads of mmdet that give an embedding per box, seen as one."""

from mmdet.models.tracking_heads import QuasiDenseTrackHead, RoITrackHead
from torch import Tensor, nn

SUPPORTED = 'RoITrackHead (MaskTrack R-CNN) and QuasiDenseTrackHead (QDTrack)'


def embedding_channels(head: nn.Module) -> int:
    """C, the width of a head's embeddings.

    Raises:
        TypeError: The head gives no embedding per box.
    """
    if isinstance(head, QuasiDenseTrackHead):
        return head.embed_head.fc_embed.out_features
    if isinstance(head, RoITrackHead):
        embed = head.embed_head
        return embed.last_layer_dim * (1 if embed.num_fcs else embed.roi_feat_area)
    raise TypeError(f'{type(head).__name__} has no embedding per box to remember: expected {SUPPORTED}')


def embed(head: nn.Module, features: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, ...]:
    """Embeddings (N, C) of the boxes (N, 4) of each image, in pixels of the network's input.

    Args:
        head: A supported track head.
        features: Maps (B, C', H / s, W / s) of the detector's neck.
        boxes: B tensors.
    """
    if isinstance(head, QuasiDenseTrackHead):
        return head.predict(features, boxes).split([len(some) for some in boxes])
    return head.embed_head.extract_feat(*head.extract_roi_feats(features, boxes))
