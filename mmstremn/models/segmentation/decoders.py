"""From readouts to masks, and the soft aggregation of objects (STM, ICCV 2019)."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import ResidualBlock, add_shared, size_of, to_map, to_positions
from mmstremn.registry import MODELS

Decode = Callable[..., tuple[Tensor, Tensor]]  # readouts of some objects to their logits and features


@dataclass
class Segmentation:
    """What is known of a frame's objects.

    Attributes:
        logits: (B, 1 + O, H, W) whose softmax is a distribution over background and objects.
        decoded: (B, O, P, C) the decoder's features on the memory's grid, zero for objects that were not
            decoded; None if none was.
        presence: (B, O) logits: is any of the object visible? None if the model has no ``PresenceHead`` or
            masks were given.
    """

    logits: Tensor
    decoded: Tensor | None = None
    presence: Tensor | None = None


class SharingDecoder(nn.Module):
    """Base of the decoders that compute once, in ``of_frame``, what the objects of a frame share."""

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """The decoder of one frame.

        Args:
            maps: (B, C, h, w) at the strides.

        Returns:
            A function of readouts (B, O, P, Cv), of any objects: logits (B, O, H, W), objects independent of
            each other, and features (B, O, P, C) on the memory's grid.
        """
        raise NotImplementedError(f'{type(self).__name__} must implement of_frame(maps)')

    def forward(self, readout: Tensor, maps: tuple[Tensor, ...] | Decode) -> tuple[Tensor, Tensor]:
        """Decode readouts (B, O, P, Cv) with the frame's maps, or with what :meth:`of_frame` made of them."""
        return (self.of_frame(maps) if isinstance(maps, tuple) else maps)(readout)


@MODELS.register_module()
class MaskDecoder(SharingDecoder):
    """Refines the readout with the frame's feature maps, coarsest first, and gives one logit per object and
    pixel.

    Args:
        value_channels: Cv.
        feature_channels: Channels of the frame's maps at these strides.
        channels: Widths at these strides.
        strides: Of the maps, decreasing: the first is that of the memory, logits at the last are enlarged to
            the frame.
    """

    def __init__(
        self,
        value_channels: int = 256,
        feature_channels: tuple[int, ...] = (1024, 512, 256),
        channels: tuple[int, ...] = (512, 256, 256),
        strides: tuple[int, ...] = (16, 8, 4),
    ):
        super().__init__()
        self.enlarge = strides[-1]
        self.compress = nn.Conv2d(feature_channels[0], channels[0], 3, padding=1)
        self.join = ResidualBlock(value_channels + channels[0], channels[0])
        self.skips = nn.ModuleList(
            nn.Conv2d(f, c, 3, padding=1) for f, c in zip(feature_channels, channels, strict=True)
        )
        self.skips[0] = nn.Identity()
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(channels))
        self.blocks = nn.ModuleList(ResidualBlock(c, c) for c in channels[1:])
        self.predict = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """As of :class:`SharingDecoder`; the features have ``channels[0]``."""
        join = self.join.join(self.compress(maps[0]))
        skips = [skip(feature) for skip, feature in zip(self.skips[1:], maps[1:], strict=True)]

        def decode(readout: Tensor) -> tuple[Tensor, Tensor]:
            x = joined = join(to_map(readout.flatten(0, 1), size_of(maps[0])))
            for narrow, skip, block in zip(self.narrow, skips, self.blocks, strict=True):
                x = F.interpolate(narrow(x), size_of(skip), mode='bilinear', align_corners=False)
                x = block(add_shared(x, skip))
            logits = self.predict(F.relu(x)).float()
            logits = F.interpolate(logits, scale_factor=self.enlarge, mode='bilinear', align_corners=False)
            objects = readout.shape[:2]
            return logits[:, 0].unflatten(0, objects), to_positions(joined).unflatten(0, objects)

        return decode


def decoder_of_frame(decoder: nn.Module, maps: tuple[Tensor, ...]) -> Decode:
    """``decoder(readout, maps)``, with tokens if it reads them, as a function of those; a decoder that has
    ``of_frame`` computes once what the objects share."""
    of_frame = getattr(decoder, 'of_frame', None)
    shared = maps if of_frame is None else of_frame(maps)
    return lambda readout, *tokens: decoder(readout, shared, *tokens)


def aggregate(probabilities: Tensor) -> Tensor:
    """Soft aggregation: logits of background and objects whose softmax is a distribution over them.

    p_0 = prod(1 - p_o), logit = log(p / (1 - p)); STM, supplementary; checked against seoungwugoh/STM
    model.py.

    Args:
        probabilities: (B, O, H, W), of each object on its own.

    Returns:
        (B, 1 + O, H, W), background first.
    """
    background = (1 - probabilities).prod(1, keepdim=True)
    return torch.cat([background, probabilities], 1).clamp(1e-7, 1 - 1e-7).logit()
