"""The mask decoders of the public STM, STCN, XMem and Cutie weights, layer by layer.

Letters in shapes: B batch, O objects, P positions at stride 16, Cv and Ch channels of a value and of the
sensory state.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import ResidualBlock, add_shared, join_convolution, size_of, to_map, to_positions
from mmstremn.models.segmentation.decoders import Decode, SharingDecoder
from mmstremn.models.segmentation.published_encoders import FeatureFusion
from mmstremn.registry import MODELS

STRIDES = (16, 8, 4)


class RefinementStage(nn.Module):
    """Doubles the resolution: upsampled features plus the frame's, then a residual block.

    Args:
        skip_channels: Of the frame's map.
        in_channels: Of the features.
        out_channels: Of what comes out.
        skip_block: The frame's map also runs through a residual block (STM).
        kernel: Of the projections of the frame's map and of the shortcut.
    """

    def __init__(
        self,
        skip_channels: int,
        in_channels: int,
        out_channels: int,
        skip_block: bool = False,
        kernel: int = 3,
    ):
        super().__init__()
        self.skip = nn.Conv2d(skip_channels, in_channels, kernel, padding=kernel // 2)
        self.skip_block = ResidualBlock(in_channels, in_channels) if skip_block else nn.Identity()
        self.block = ResidualBlock(in_channels, out_channels, shortcut_size=kernel)

    def of_frame(self, feature: Tensor) -> Callable[[Tensor], Tensor]:
        """For the frame's map (B, C2, 2 h, 2 w): (B * O, C, h, w) to (B * O, C', 2 h, 2 w)."""
        skip = self.skip_block(self.skip(feature))

        def refine(x: Tensor) -> Tensor:
            x = F.interpolate(x, size_of(skip), mode='bilinear', align_corners=False)
            return self.block(add_shared(x, skip))

        return refine


class Refinement(nn.Module):
    """From joined features at stride 16 to logits at stride 4.

    Args:
        feature_channels: Of the frame's maps at strides 16, 8, 4.
        channels: Widths at strides 16, 8, 4.
        strides: Of the frame's maps.
        skip_block: See :class:`RefinementStage`.
        kernel: See :class:`RefinementStage`.

    Raises:
        ValueError: The strides are others than 16, 8, 4.
    """

    def __init__(
        self,
        feature_channels: tuple[int, ...],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        skip_block: bool = False,
        kernel: int = 3,
    ):
        super().__init__()
        if tuple(strides) != STRIDES:
            raise ValueError(
                f'the decoders of the public weights expect maps at strides {STRIDES}, got '
                f'{tuple(strides)}; MaskDecoder '
                'takes others'
            )
        widths = zip(feature_channels[1:], channels, channels[1:], strict=False)
        self.stages = nn.ModuleList(RefinementStage(skip, a, b, skip_block, kernel) for skip, a, b in widths)
        self.predict = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
        """Joined features to logits (B * O, 1, H / 4, W / 4), and the features at strides 16, 8, 4."""
        refinements = cast(Iterable[RefinementStage], self.stages)
        stages = [stage.of_frame(feature) for stage, feature in zip(refinements, maps[1:], strict=True)]

        def refine(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            features = [x]
            for stage in stages:
                features.append(stage(features[-1]))
            return self.predict(F.relu(features[-1])), features

        return refine


@MODELS.register_module()
class STMDecoder(SharingDecoder):
    """STM's decoder (seoungwugoh/STM model.py).

    Its two channels of logits are one here, their difference: softmax of two is a sigmoid of it.

    Args:
        value_channels: Cv.
        feature_channels: Channels of the frame's maps at strides 16, 8, 4.
        channels: Widths at strides 16, 8, 4.
        strides: Of the frame's maps.

    Raises:
        ValueError: The strides are others than 16, 8, 4.
    """

    def __init__(
        self,
        value_channels: int = 512,
        feature_channels: tuple[int, int, int] = (1024, 512, 256),
        channels: tuple[int, int, int] = (256, 256, 256),
        strides: tuple[int, ...] = STRIDES,
    ):
        super().__init__()
        self.compress = nn.Conv2d(feature_channels[0], value_channels, 3, padding=1)
        self.join = nn.Conv2d(2 * value_channels, channels[0], 3, padding=1)
        self.block = ResidualBlock(channels[0], channels[0])
        self.refine = Refinement(feature_channels, channels, strides, skip_block=True)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """As of ``MaskDecoder``."""
        join, refine = join_convolution(self.join, self.compress(maps[0])), self.refine.of_frame(maps)

        def decode(readout: Tensor) -> tuple[Tensor, Tensor]:
            joined = self.block(join(_read_map(readout, maps)))
            return _enlarge(refine(joined)[0], readout), _decoded(joined, readout)

        return decode


@MODELS.register_module()
class STCNDecoder(SharingDecoder):
    """STCN's decoder (hkchengrex/STCN model/{network,modules}.py).

    Args:
        value_channels: Cv.
        feature_channels: Channels of the frame's maps at strides 16, 8, 4.
        channels: Widths at strides 16, 8, 4.
        strides: Of the frame's maps.

    Raises:
        ValueError: The strides are others than 16, 8, 4.
    """

    def __init__(
        self,
        value_channels: int = 512,
        feature_channels: tuple[int, int, int] = (1024, 512, 256),
        channels: tuple[int, int, int] = (512, 256, 256),
        strides: tuple[int, ...] = STRIDES,
    ):
        super().__init__()
        self.compress = nn.Conv2d(feature_channels[0], channels[0], 3, padding=1)
        self.join = ResidualBlock(value_channels + channels[0], channels[0], shortcut_size=3)
        self.refine = Refinement(feature_channels, channels, strides)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """As of ``MaskDecoder``."""
        join, refine = self.join.join(self.compress(maps[0])), self.refine.of_frame(maps)

        def decode(readout: Tensor) -> tuple[Tensor, Tensor]:
            joined = join(_read_map(readout, maps))
            return _enlarge(refine(joined)[0], readout), _decoded(joined, readout)

        return decode


@MODELS.register_module()
class XMemDecoder(SharingDecoder):
    """XMem's decoder (hkchengrex/XMem model/modules.py), for ``TwoLevelMemory(compat='xmem')``.

    The features it hands on, from which the sensory state is updated, join those of all three strides and the
    logits.

    Args:
        value_channels: Cv.
        sensory_channels: Ch; the readout has Cv + Ch channels.
        feature_channels: Channels of the frame's maps at strides 16, 8, 4.
        channels: Widths at strides 16, 8, 4.
        strides: Of the frame's maps.
        decoder_channels: Of the features handed on.

    Raises:
        ValueError: The strides are others than 16, 8, 4.
    """

    def __init__(
        self,
        value_channels: int = 512,
        sensory_channels: int = 64,
        feature_channels: tuple[int, int, int] = (1024, 512, 256),
        channels: tuple[int, int, int] = (512, 256, 256),
        strides: tuple[int, ...] = STRIDES,
        decoder_channels: int = 256,
    ):
        super().__init__()
        self.fusion = FeatureFusion(value_channels + sensory_channels, feature_channels[0], channels[0])
        self.refine = Refinement(feature_channels, channels, strides)
        widths = (*channels[:2], channels[2] + 1)
        self.hand_on = nn.ModuleList(nn.Conv2d(width, decoder_channels, 1) for width in widths)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """As of ``MaskDecoder``, for readouts (B, O, P, Cv + Ch); features (B, O, P, decoder_channels)."""
        join, refine = self.fusion.join(maps[0]), self.refine.of_frame(maps)

        def decode(readout: Tensor) -> tuple[Tensor, Tensor]:
            logits, features = refine(join(_read_map(readout, maps)))
            joined = _join_scales(self.hand_on, features, logits)
            return _enlarge(logits, readout), _decoded(joined, readout)

        return decode


@MODELS.register_module()
class CutieDecoder(SharingDecoder):
    """Cutie's decoder (hkchengrex/Cutie model/big_modules.py), for readouts of ``ObjectTransformer``.

    Its logits have stride 4: they are enlarged after the soft aggregation. The features it hands on are as
    XMem's.

    Args:
        value_channels: Cv, equal to the first of ``channels``.
        feature_channels: Channels of the frame's maps at strides 16, 8, 4; the first is not used.
        channels: Widths at strides 16, 8, 4.
        strides: Of the frame's maps.
        decoder_channels: Of the features handed on.

    Raises:
        ValueError: The strides are others than 16, 8, 4, or the first width is not that of the readout.
    """

    def __init__(
        self,
        value_channels: int = 256,
        feature_channels: tuple[int, int, int] = (256, 512, 256),
        channels: tuple[int, int, int] = (256, 128, 128),
        strides: tuple[int, ...] = STRIDES,
        decoder_channels: int = 256,
    ):
        super().__init__()
        if channels[0] != value_channels:
            raise ValueError(
                f'CutieDecoder.channels must begin with value_channels ({value_channels}), got {channels}'
            )
        self.refine = Refinement(feature_channels, channels, strides, kernel=1)
        widths = (*channels[:2], channels[2] + 1)
        self.hand_on = nn.ModuleList(nn.Conv2d(width, decoder_channels, 1) for width in widths)

    def of_frame(self, maps: tuple[Tensor, ...]) -> Decode:
        """As of ``MaskDecoder``, but logits (B, O, H / 4, W / 4)."""
        refine = self.refine.of_frame(maps)

        def decode(readout: Tensor) -> tuple[Tensor, Tensor]:
            logits, features = refine(_read_map(readout, maps))
            joined = _join_scales(self.hand_on, features, logits)
            return logits.float()[:, 0].unflatten(0, readout.shape[:2]), _decoded(joined, readout)

        return decode


def _join_scales(convolutions: nn.ModuleList, features: list[Tensor], logits: Tensor) -> Tensor:
    """Features at strides 16, 8, 4, the last joined by the logits, summed at stride 16."""
    *coarse, fine = features
    shrunk = (F.avg_pool2d(x, 2**level) for level, x in enumerate((*coarse, torch.cat([fine, logits], 1))))
    return sum(convolve(x) for convolve, x in zip(convolutions, shrunk, strict=True))


def _read_map(readout: Tensor, maps: tuple[Tensor, ...]) -> Tensor:
    """(B, O, P, C) to (B * O, C, h, w)."""
    return to_map(readout.flatten(0, 1), size_of(maps[0]))


def _enlarge(logits: Tensor, readout: Tensor) -> Tensor:
    """(B * O, 1, H / 4, W / 4) to (B, O, H, W)."""
    logits = F.interpolate(logits.float(), scale_factor=4, mode='bilinear', align_corners=False)
    return logits[:, 0].unflatten(0, readout.shape[:2])


def _decoded(features: Tensor, readout: Tensor) -> Tensor:
    """(B * O, C, h, w) to (B, O, P, C)."""
    return to_positions(features).unflatten(0, readout.shape[:2])
