"""What Cutie does with a readout before it is decoded: the pixel fuser and the object transformer.

Cutie (Cheng et al., CVPR 2024, arXiv 2310.12982); checked against hkchengrex/Cutie model/. Letters in shapes:
B batch, O objects, P positions, N tokens of an object, C channels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers.eca import EcaModule
from torch import Tensor, nn

from mmstremn.memory.encoding import encode_places
from mmstremn.models.layers import ResidualBlock, add_shared, size_of, to_map, to_positions
from mmstremn.models.segmentation.decoders import aggregate
from mmstremn.registry import MODELS


class ChannelAttentionBlock(ResidualBlock):
    """A residual block whose branch is weighted by channel attention (ECA, CVPR 2020).

    Args:
        in_channels: C.
        out_channels: C'.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels)
        self.attention = EcaModule(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h, w)."""
        return self.shortcut(x) + self.attention(self.conv2(F.relu(self.conv1(F.relu(x)))))


class PixelFusion(nn.Module):
    """Sums projected features of objects and of their frame; then two blocks with channel attention.

    Args:
        own_channels: Of the objects' features.
        shared_channels: Of the frame's.
        out_channels: C'.
    """

    def __init__(self, own_channels: int, shared_channels: int, out_channels: int):
        super().__init__()
        self.own = nn.Conv2d(own_channels, out_channels, 1)
        self.shared = nn.Conv2d(shared_channels, out_channels, 1)
        self.blocks = nn.Sequential(*(ChannelAttentionBlock(out_channels, out_channels) for _ in range(2)))

    def join(self, shared: Tensor) -> Callable[[Tensor], Tensor]:
        """For the frame's (B, C2, h, w): objects' features (B * O, C1, h, w) to (B * O, C', h, w)."""
        of_frame = self.shared(shared)
        return lambda own: self.blocks(add_shared(self.own(own), of_frame))

    def forward(self, own: Tensor, shared: Tensor) -> Tensor:
        """(B * O, C1, h, w) and (B, C2, h, w) to (B * O, C', h, w)."""
        return self.join(shared)(own)


@MODELS.register_module()
class PixelFuser(nn.Module):
    """Joins a readout with the sensory state, the masks of the previous frame, and the frame's features.

    Args:
        value_channels: Cv.
        sensory_channels: Ch of :class:`~mmstremn.memory.CutieMemory`.
        frame_channels: Of the frame's first map.
    """

    def __init__(self, value_channels: int = 256, sensory_channels: int = 256, frame_channels: int = 256):
        super().__init__()
        self.split = value_channels, sensory_channels + 2
        self.compress = nn.Conv2d(sensory_channels + 2, value_channels, 1)
        self.fusion = PixelFusion(value_channels, frame_channels, value_channels)

    def forward(self, readout: Tensor, feature: Tensor) -> Tensor:
        """A readout (B, O, P, Cv + Ch + 2) and the frame's map (B, C, h, w) to (B, O, P, Cv).

        Raises:
            ValueError: The readout has other channels: the memory is no ``CutieMemory`` with such a sensory
                state.
        """
        if readout.shape[-1] != sum(self.split):
            raise ValueError(
                f'PixelFuser: expected a readout of {self.split[0]} + {self.split[1]} channels, got '
                f'{readout.shape[-1]}: the memory must be a CutieMemory whose sensory_memory has '
                f'{self.split[1] - 2} channels'
            )
        grid = size_of(feature)
        pixels, further = (to_map(x, grid) for x in readout.flatten(0, 1).split(self.split, -1))
        fused = self.fusion(pixels + self.compress(further), feature)
        return to_positions(fused).unflatten(0, readout.shape[:2])


class ObjectTransformerBlock(nn.Module):
    """Queries of an object read its positions, each other, and are read by the positions.

    Args:
        channels: C.
        heads: Of the attentions.
        hidden_channels: Of the queries' perceptron.
    """

    def __init__(self, channels: int, heads: int, hidden_channels: int):
        super().__init__()
        self.read_pixels, self.read_queries, self.write_pixels = (
            nn.MultiheadAttention(channels, heads) for _ in range(3)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.perceptron = nn.Sequential(
            nn.Linear(channels, hidden_channels), nn.ReLU(), nn.Linear(hidden_channels, channels)
        )
        self.block = ChannelAttentionBlock(channels, channels)

    def forward(
        self,
        query: Tensor,
        pixels: Tensor,
        codes: tuple[Tensor, Tensor],
        barred: Tensor,
        grid: tuple[int, int],
    ) -> tuple[Tensor, Tensor]:
        """One round; the residual paths of the first two attentions start behind their norm.

        Args:
            query: (B * O, N, C).
            pixels: (B * O, P, C).
            codes: Of the queries and of the pixels, added where attention compares them.
            barred: (B * O * heads, N, P) bool, positions that a query does not see.
            grid: (h, w).
        """
        query_code, pixel_code = codes
        query = self.norms[0](query)
        query = query + _attend(self.read_pixels, query + query_code, pixels + pixel_code, pixels, barred)
        query = self.norms[1](query)
        coded = query + query_code
        query = query + _attend(self.read_queries, coded, coded, query)
        query = query + self.perceptron(self.norms[2](query))
        pixels = pixels + _attend(self.write_pixels, pixels + pixel_code, query + query_code, query)
        return query, to_positions(self.block(to_map(pixels, grid)))


def _attend(
    attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, barred: Tensor | None = None
) -> Tensor:
    """Of batches first, (B, N, C). torch's own option for that hands its projections a transposed view, for
    which a CPU in bfloat16 copies the weights once a position."""
    inputs = (x.transpose(0, 1).contiguous() for x in (query, key, value))
    return attention(*inputs, attn_mask=barred, need_weights=False)[0].transpose(0, 1)


@MODELS.register_module()
class ObjectTransformer(nn.Module):
    """Object queries, which begin as the memory's summaries, and the readout's positions inform each other.

    The first half of an object's queries sees the positions where the object is, the second half the others:
    a mask that is predicted before each block says which. It is made of all objects together, whenever they
    appeared (the public code: of those that appeared together).

    Args:
        channels: C, that of the readout and of the summaries.
        num_queries: N.
        blocks: How many.
        heads: Of the attentions.
        hidden_channels: Of the queries' perceptrons.
    """

    reads_tokens = True

    def __init__(
        self,
        channels: int = 256,
        num_queries: int = 16,
        blocks: int = 3,
        heads: int = 8,
        hidden_channels: int = 2048,
    ):
        super().__init__()
        self.heads = heads
        self.query = nn.Embedding(num_queries, channels)
        self.query_code = nn.Embedding(num_queries, channels)
        self.token_to_query = nn.Linear(channels, channels)
        self.token_to_code = nn.Linear(channels, channels)
        self.pixels = nn.Conv2d(channels, channels, 1)
        self.pixel_code = nn.Conv2d(channels, channels, 1)
        self.predict = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            ObjectTransformerBlock(channels, heads, hidden_channels) for _ in range(blocks)
        )

    def forward(
        self, readout: Tensor, tokens: Tensor, grid: tuple[int, int], present: Tensor | None = None
    ) -> Tensor:
        """A readout (B, O, P, C) to one of the same shape.

        Args:
            readout: Of all objects.
            tokens: (B, O, N, C), the summaries.
            grid: (h, w).
            present: (B, O) bool, False for objects that only pad a batch.

        Raises:
            ValueError: There are not N tokens, or of other width.
        """
        batch, objects = readout.shape[:2]
        expected = self.query.weight.shape
        if tokens.shape[2:] != expected:
            raise ValueError(
                f'ObjectTransformer: expected {tuple(expected)} tokens of each object, got '
                f'{tuple(tokens.shape[2:])}: the memory must be a CutieMemory with such an object_memory'
            )
        tokens, x = tokens.flatten(0, 1), to_map(readout.flatten(0, 1), grid)
        query = self.query.weight + self.token_to_query(tokens)
        query_code = self.query_code.weight + self.token_to_code(tokens)
        place = encode_places(grid, readout.shape[-1], device=x.device)
        codes = query_code, to_positions(self.pixel_code(x)) + place.to(x.dtype)
        pixels = to_positions(self.pixels(x))
        for predict, block in zip(self.predict, self.blocks, strict=True):
            logits = predict(F.relu(to_map(pixels, grid))).unflatten(0, (batch, objects)).flatten(2)
            barred = self._barred(logits, present)
            query, pixels = block(query, pixels, codes, barred, grid)
        return pixels.unflatten(0, (batch, objects))

    @torch.no_grad()
    def _barred(self, logits: Tensor, present: Tensor | None) -> Tensor:
        """(B * O * heads, N, P) bool from logits (B, O, P): what each query does not see.

        A query that would see nothing sees all.
        """
        probability = logits.float().sigmoid()
        if present is not None:
            probability = probability * present[:, :, None]
        scores = aggregate(probability)
        inside = (scores[:, 1:] >= scores.amax(1, keepdim=True)).flatten(0, 1)  # (B * O, P)
        barred = torch.stack([~inside, inside], 1)
        barred = barred & ~barred.all(-1, keepdim=True)
        barred = barred.repeat_interleave(self.query.num_embeddings // 2, 1)
        return barred.repeat_interleave(self.heads, 0)
