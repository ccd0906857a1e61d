"""Reading a memory with the memory attention of a tracker."""

from contextlib import contextmanager

import torch
from torch import Tensor

from mmstremn.adapters.sam2.encoding import MemoryFeatures
from mmstremn.adapters.sam2.outputs import Features
from mmstremn.memory.published.tracker import Tokens


class TrackerReader:
    """Calls a tracker's memory attention for several objects at once.

    Args:
        tracker: Of transformers.
        encoder: Gives the position code of memory features.
        measures: Give the shares of the attention too; attention is then computed by transformers' ``eager``
            code, which needs more memory.
    """

    def __init__(self, tracker, encoder: MemoryFeatures, measures: bool = False):
        self.tracker, self.encoder, self.measures = tracker, encoder, measures
        if measures:
            tracker.config._attn_implementation = 'eager'

    def __call__(
        self, features: Features, tokens: Tokens, at_once: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The readout (n, P, C) of n objects and the shares (n, F) of their frames, or None.

        Args:
            features: Of the frame.
            tokens: What the objects hold.
            at_once: Objects at a time; None: all.
        """
        memory, code, pointers = self._sequence(tokens, features.query.key.dtype)
        size = at_once or len(memory)
        parts = [
            self._attend(features, some, codes, pointers, tokens.value.shape[1])
            for some, codes in zip(memory.split(size), code.split(size), strict=True)
        ]
        readout = torch.cat([readout for readout, _ in parts])
        return readout, torch.cat([share for _, share in parts]) if self.measures else None

    def _sequence(self, tokens: Tokens, dtype: torch.dtype) -> tuple[Tensor, Tensor, int]:
        """Tokens (n, N, C) and their codes (n, N, C), and how many of them are of pointers."""
        tracker = self.tracker
        position = self.encoder.position(tokens.value.device, dtype)
        in_time = tracker.memory_temporal_positional_encoding[:, 0, 0]  # the last is that of prompted frames
        code = position + in_time[tokens.place - 1][:, :, None]  # (n, F, P, C)
        splits = tracker.hidden_dim // tracker.mem_dim
        pointers = tokens.pointer.unflatten(-1, (splits, -1)).flatten(1, 2)
        pointer_code = self._pointer_code(tokens.age, dtype).repeat_interleave(splits, 1)
        memory = torch.cat([tokens.value.flatten(1, 2).to(dtype), pointers.to(dtype)], 1)
        return memory, torch.cat([code.flatten(1, 2), pointer_code], 1), pointers.shape[1]

    def _pointer_code(self, age: Tensor, dtype: torch.dtype) -> Tensor:
        """(n, R, C) of ages (n, R) in frames."""
        tracker = self.tracker
        if not tracker.config.enable_temporal_pos_encoding_for_object_pointers:
            return torch.zeros(*age.shape, tracker.mem_dim, device=age.device, dtype=dtype)
        half = tracker.hidden_dim // 2
        place = age.float() / (tracker.config.max_object_pointers_in_encoder - 1)
        channel = torch.arange(half, device=age.device, dtype=torch.float32)
        angle = place[..., None] / 10000 ** (2 * (channel // 2) / half)
        wave = torch.cat([angle.sin(), angle.cos()], -1).to(dtype)
        return tracker.temporal_positional_encoding_projection_layer(wave)

    def _attend(
        self, features: Features, memory: Tensor, code: Tensor, pointers: int, frames: int
    ) -> tuple[Tensor, Tensor | None]:
        number = len(memory)
        further = {}
        if hasattr(self.tracker, 'spatial_perceiver'):
            further = dict(num_spatial_memory_tokens=frames)
        with self._watched() as weights:
            readout = self.tracker.memory_attention(
                current_vision_features=features.query.key.transpose(0, 1).expand(-1, number, -1),
                current_vision_position_embeddings=features.position,
                memory=memory.transpose(0, 1),
                memory_posision_embeddings=code.transpose(0, 1),
                num_object_pointer_tokens=pointers,
                **further,
            )
        readout = readout.transpose(0, 1).reshape(number, *features.query.key.shape[1:])
        if not self.measures:
            return readout, None
        drawn = weights[-1].mean((1, 2))[:, : memory.shape[1] - pointers]  # (n, F * P)
        share = drawn.unflatten(1, (frames, -1)).sum(-1)
        return readout, share / share.sum(-1, keepdim=True)

    @contextmanager
    def _watched(self):
        """A list that gets the weights (n, heads, P, N) of the last cross-attention, if they are measured."""
        weights: list[Tensor] = []
        if not self.measures:
            yield weights
            return
        attention = self.tracker.memory_attention.layers[-1].cross_attn_image
        hook = attention.register_forward_hook(lambda _, inputs, outputs: weights.append(outputs[1]))
        try:
            yield weights
        finally:
            hook.remove()
