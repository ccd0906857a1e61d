"""The mask decoder of this library as a decode head of mmsegmentation."""

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmstremn.models.layers import to_positions
from mmstremn.models.segmentation.decoders import MaskDecoder
from mmstremn.registry import MODELS


@MODELS.register_module()
class MaskDecoderHead(BaseDecodeHead):
    """Decodes every class as :class:`MaskDecoder` decodes an object: one logit per class and pixel.

    What the decoder takes for a readout is a projection of the stride-16 map plus a learned vector of the
    class. Its cost grows with the number of classes.

    Args:
        in_channels: Channels of the maps at strides 4, 8 and 16, which ``in_index`` chooses.
        channels: Widths of the decoder at strides 16, 8 and 4.
        value_channels: Of the readout.
        in_index: The levels of strides 4, 8 and 16.
        **kwargs: ``BaseDecodeHead``'s.

    Raises:
        ValueError: There are not three maps and three widths.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: tuple[int, int, int] = (256, 128, 128),
        value_channels: int = 128,
        in_index: tuple[int, int, int] = (0, 1, 2),
        **kwargs,
    ):
        if not len(in_channels) == len(channels) == len(in_index) == 3:
            raise ValueError(
                'MaskDecoderHead: expected three in_channels, channels and in_index (strides 4, 8, 16), got '
                f'{in_channels}, {channels}, {in_index}'
            )
        kwargs = dict(input_transform='multiple_select', init_cfg=None, dropout_ratio=0) | kwargs
        super().__init__(in_channels=list(in_channels), channels=1, in_index=list(in_index), **kwargs)
        self.conv_seg = nn.Identity()  # the decoder gives the logits
        self.value = nn.Conv2d(in_channels[2], value_channels, 1)
        self.classes = nn.Parameter(torch.randn(self.out_channels, 1, value_channels))
        self.decoder = MaskDecoder(value_channels, tuple(in_channels)[::-1], tuple(channels))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Logits (B, K, H, W) at the image's size out of maps (B, C, h, w)."""
        maps = self._transform_inputs(inputs)[::-1]
        readout = to_positions(self.value(maps[0]))[:, None] + self.classes
        return self.decoder(readout, tuple(maps))[0]
