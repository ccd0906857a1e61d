"""SimVP: frames from frames by convolutions, without a memory."""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmstremn.models.prediction.inference import fill_samples
from mmstremn.registry import MODELS, build
from mmstremn.structures import PredictionDataSample

GROUPS = 2
SCALE = 0.01


@MODELS.register_module()
class SimVP(BaseModel):
    """Predicts the N frames that follow N given ones at once; longer outputs go on from its own predictions
    in steps of N.

    Each frame is encoded by itself to a quarter of its size (with four layers). The maps of all frames, their
    channels side by side, pass through the translator, which alone relates frames to each other: blocks of
    gated spatiotemporal attention (gSTA). Each map it gives is decoded to one frame, with the first layer's
    map of the input frame in the same place as a skip connection. There is no memory and no streaming: what
    is older than the last N frames is forgotten.

    Source: Gao et al., "SimVP: Simpler yet Better Video Prediction" (CVPR 2022); the translator of Tan et
    al., "SimVP: Towards Simple yet Powerful Spatiotemporal Predictive Learning" (arXiv 2211.12509). Checked
    against OpenSTL's (chengtan9907/OpenSTL) at equal weights in three sizes: as many parameters, equal
    outputs, without stochastic depth, which is not here.

    Args:
        input_frames: N.
        frame_channels: C: 1 grey, 3 RGB.
        spatial_channels: Of a frame's maps, even.
        translator_channels: Of the translator's inner blocks.
        spatial_layers: Of the encoder and of the decoder, even; every second one halves or doubles the size.
        translator_layers: Blocks of the translator, at least 2.
        mlp_ratio: Hidden channels of a block over its channels.
        loss: Config.
        data_preprocessor: Config.
        init_cfg: As in mmengine.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        input_frames: int = 10,
        frame_channels: int = 1,
        spatial_channels: int = 64,
        translator_channels: int = 512,
        spatial_layers: int = 4,
        translator_layers: int = 8,
        mlp_ratio: float = 8.0,
        loss: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        preprocessor = build(data_preprocessor or dict(type='PredictionDataPreprocessor'))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        if input_frames < 1 or translator_layers < 2:
            raise ValueError(
                'SimVP: expected input_frames >= 1 and translator_layers >= 2, got '
                f'{input_frames} and {translator_layers}'
            )
        if spatial_layers < 2 or spatial_layers % 2 or spatial_channels % GROUPS:
            raise ValueError(
                'SimVP: expected even numbers of spatial_layers (at least 2) and spatial_channels, got '
                f'{spatial_layers} and {spatial_channels}'
            )
        self.input_frames, self.frame_channels = input_frames, frame_channels
        self.stride = 2 ** (spatial_layers // 2)
        halves = [place % 2 == 1 for place in range(spatial_layers)]
        widths = [frame_channels] + [spatial_channels] * spatial_layers
        self.encoder = nn.ModuleList(
            conv_unit(a, b, down=half) for a, b, half in zip(widths, widths[1:], halves, strict=False)
        )
        stacked = input_frames * spatial_channels
        widths = [stacked] + [translator_channels] * (translator_layers - 1) + [stacked]
        self.translator = nn.Sequential(*(TranslatorBlock(a, b, mlp_ratio) for a, b in pairwise(widths)))
        self.decoder = nn.ModuleList(
            conv_unit(spatial_channels, spatial_channels, up=half) for half in reversed(halves)
        )
        self.readout = nn.Conv2d(spatial_channels, frame_channels, 1)
        self.loss_function = build(loss or dict(type='PredictionLoss'))

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[PredictionDataSample] | None = None,
        mode: Literal['loss', 'predict', 'tensor'] = 'tensor',
    ) -> Any:
        """mmengine's three modes.

        Args:
            inputs: Clips (B, T, C, H, W) in 0..1.
            data_samples: B; in mode 'tensor' not looked at.
            mode: ``'loss'``: a dict of losses; ``'predict'``: the samples with what was predicted;
                ``'tensor'``: N frames from the first N.

        Raises:
            ValueError: Another mode, or clips that do not fit, see :meth:`go_on`.
        """
        if mode == 'tensor':
            if inputs.ndim == 4:  # counters of operations give pictures (B, C, H, W)
                inputs = inputs[:, None].expand(-1, self.input_frames, -1, -1, -1)
            return self.go_on(inputs[:, : self.input_frames], self.input_frames)
        if mode not in ('loss', 'predict') or data_samples is None:
            raise ValueError(f"mode must be 'loss' or 'predict' with samples, or 'tensor', got '{mode}'")
        begin, observed = time.perf_counter(), data_samples[0].input_frames
        predicted = self.go_on(inputs[:, :observed], inputs.shape[1] - observed)
        if mode == 'loss':
            return self.loss_function(predicted, inputs[:, observed:])
        return fill_samples(data_samples, inputs, predicted, begin)

    def go_on(self, frames: Tensor, steps: int) -> Tensor:
        """The frames (B, steps, C, H, W) that follow, not clipped.

        Args:
            frames: (B, T, C, H, W) in 0..1, at least N; earlier ones are not looked at.
            steps: How many frames to predict.

        Raises:
            ValueError: There are fewer frames, or their sides are not divisible by the encoder's stride.
        """
        if frames.shape[1] < self.input_frames:
            raise ValueError(
                f'SimVP of {self.input_frames} input frames: expected clips with at least as many, got '
                f'{frames.shape[1]}: set model.input_frames to those of the data'
            )
        if frames.shape[-2] % self.stride or frames.shape[-1] % self.stride:
            raise ValueError(
                f'SimVP: expected frames whose sides are multiples of {self.stride}, got '
                f'{frames.shape[-2]} x {frames.shape[-1]}'
            )
        parts, known = [], frames[:, -self.input_frames :]
        for _ in range(math.ceil(steps / self.input_frames)):
            known = self._next(known)
            parts.append(known)
        return torch.cat(parts, 1)[:, :steps]

    def _next(self, frames: Tensor) -> Tensor:
        """N frames (B, N, C, H, W) from the N before."""
        first = x = self.encoder[0](frames.flatten(0, 1))
        for layer in self.encoder[1:]:
            x = layer(x)
        stacked = x.unflatten(0, frames.shape[:2]).flatten(1, 2)  # (B, N C', h, w)
        x = self.translator(stacked).unflatten(1, (self.input_frames, -1)).flatten(0, 1)
        for layer in self.decoder[:-1]:
            x = layer(x)
        return self.readout(self.decoder[-1](x + first)).unflatten(0, frames.shape[:2])


def conv_unit(inputs: int, outputs: int, down: bool = False, up: bool = False) -> nn.Sequential:
    """A 3 x 3 convolution, group norm and SiLU; ``down`` halves the sides, ``up`` doubles them by sub-pixel
    convolution."""
    conv = nn.Conv2d(inputs, outputs * 4 if up else outputs, 3, stride=2 if down else 1, padding=1)
    start_from(partial(nn.init.trunc_normal_, std=0.02), conv)
    parts = [conv, nn.PixelShuffle(2)] if up else [conv]
    return nn.Sequential(*parts, nn.GroupNorm(GROUPS, outputs), nn.SiLU())


def start_from(init: Callable[[Tensor], object], *parts: nn.Module) -> None:
    """Initialise the weights of the convolutions in ``parts`` by ``init`` and their biases with 0."""
    for part in parts:
        for parameter in part.parameters():
            (init if parameter.ndim == 4 else nn.init.zeros_)(parameter)


class TranslatorBlock(nn.Module):
    """A gSTA block: spatial attention with a gate, then a convolutional MLP, both residual and scaled; a
    1 x 1 convolution where the number of channels changes.

    The attention is two depth-wise convolutions, 5 x 5 and 7 x 7 with dilation 3, which together reach as far
    as one of 21 x 21, whose output is split into values and their gate.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        mlp_ratio: Hidden channels of the MLP over ``inputs``.
    """

    def __init__(self, inputs: int, outputs: int, mlp_ratio: float = 8.0):
        super().__init__()
        hidden = int(inputs * mlp_ratio)
        self.attention = nn.Sequential(
            nn.Conv2d(inputs, inputs, 1),
            nn.GELU(),
            nn.Conv2d(inputs, inputs, 5, padding=2, groups=inputs),
            nn.Conv2d(inputs, inputs, 7, padding=9, dilation=3, groups=inputs),
            nn.Conv2d(inputs, 2 * inputs, 1),
            nn.GLU(dim=1),
            nn.Conv2d(inputs, inputs, 1),
        )
        self.mlp = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, inputs, 1),
        )
        self.attention_norm, self.mlp_norm = nn.BatchNorm2d(inputs), nn.BatchNorm2d(inputs)
        self.attention_scale = nn.Parameter(torch.full((inputs, 1, 1), SCALE))
        self.mlp_scale = nn.Parameter(torch.full((inputs, 1, 1), SCALE))
        start_from(partial(nn.init.kaiming_normal_, mode='fan_out'), self.attention, self.mlp)
        self.change = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        normed = self.attention_norm(x)
        x = x + self.attention_scale * (self.attention(normed) + normed)
        x = x + self.mlp_scale * self.mlp(self.mlp_norm(x))
        return self.change(x)
