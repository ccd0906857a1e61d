"""Whether a frame shows an object at all: the object score of SAM 2 (arXiv 2408.00714, section 4) for
space-time
memory networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import to_positions
from mmstremn.registry import MODELS


@MODELS.register_module()
class PresenceHead(nn.Module):
    """One score per object and frame: is any of the object visible?

    Softmax attention always reads something, so a readout alone does not say whether the object is in the
    frame. The head compares, position by position, what was read with what the frame shows, pools the result
    over the predicted mask and over the whole frame, and scores it with one small network.

    Args:
        value_channels: Cv.
        frame_channels: Channels of the key encoder's coarsest map.
        decoder_channels: Channels of the decoder's coarsest features.
        channels: Width of the comparison.
        threshold: Probability below which an object counts as absent in evaluation: its mask is then empty.

    Raises:
        ValueError: ``threshold`` is outside 0..1.
    """

    def __init__(
        self,
        value_channels: int = 256,
        frame_channels: int = 1024,
        decoder_channels: int = 512,
        channels: int = 48,
        threshold: float = 0.5,
    ):
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f'PresenceHead.threshold must be in 0..1, got {threshold}')
        self.threshold = threshold
        self.read = nn.Linear(value_channels, channels)
        self.seen = nn.Linear(frame_channels, channels)
        self.decoded = nn.Linear(decoder_channels, channels)
        self.compare = nn.Linear(4 * channels, channels)
        self.score = nn.Sequential(nn.Linear(3 * channels + 2, channels), nn.ReLU(), nn.Linear(channels, 1))

    def forward(self, readout: Tensor, feature: Tensor, decoded: Tensor, masks: Tensor) -> Tensor:
        """Score the objects of a frame.

        Args:
            readout: (B, O, P, Cv).
            feature: (B, C, h, w) of the key encoder, h * w = P.
            decoded: (B, O, P, C') of the decoder.
            masks: (B, O, H, W) probabilities; no gradient flows into them.

        Returns:
            Logits (B, O).
        """
        inside = F.adaptive_avg_pool2d(masks.detach().float(), feature.shape[-2:]).flatten(2)  # (B, O, P)
        read, decoded = self.read(readout), self.decoded(F.relu(decoded))  # (B, O, P, c)
        seen = self.seen(to_positions(feature))[:, None].expand_as(read)
        compared = F.relu(self.compare(F.relu(torch.cat([read, seen, read * seen, decoded], -1))))
        area = inside.sum(-1, keepdim=True)
        weight = (inside / area.clamp(min=1e-4)).unsqueeze(-1)
        pooled = [(compared * weight).sum(2), compared.mean(2), compared.amax(2)]
        scalars = [(area + 1e-2).log(), inside.amax(-1, keepdim=True)]
        return self.score(torch.cat([*pooled, *scalars], -1)).squeeze(-1)

    def gate(self, masks: Tensor, presence: Tensor) -> Tensor:
        """``masks`` (B, O, H, W), empty where ``presence`` (B, O) says that the object is absent."""
        return masks * (presence.sigmoid() >= self.threshold)[:, :, None, None]
