"""The recurrent cell of XMem's and Cutie's sensory memory."""

import torch
from torch import Tensor, nn

from mmstremn.memory.state import MemoryState


class SensoryCell(nn.Module):
    """h' = f h (1 - u) + u v, with f, u, v from a 3 x 3 convolution of the input and h.

    XMem, section 3.2; equal to hkchengrex/XMem model/modules.py.

    Args:
        in_channels: Of the input.
        channels: Ch of the state.
    """

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.gates = nn.Conv2d(in_channels + channels, 3 * channels, 3, padding=1)
        nn.init.xavier_normal_(self.gates.weight)

    def forward(self, x: Tensor, h: Tensor, grid: tuple[int, int]) -> Tensor:
        """The next state (B, O, P, Ch) from an input (B, O, P, C) and a state (B, O, P, Ch)."""
        both = torch.cat([x.to(h.dtype), h], -1).flatten(0, 1).transpose(1, 2).unflatten(2, grid)
        gates = self.gates(both).flatten(2).transpose(1, 2).unflatten(0, h.shape[:2]).to(h.dtype)
        forget, update, new = gates.chunk(3, -1)
        update = update.sigmoid()
        return forget.sigmoid() * h * (1 - update) + update * new.tanh()


def follow_decoder(cell: SensoryCell, sensory: Tensor, decoded: Tensor, state: MemoryState) -> Tensor:
    """The sensory state (B, O, P, Ch) after the decoder's features; objects that are new have not been
    decoded."""
    old = sum(birth < state.step for birth in state.births)
    if not old:
        return sensory
    return torch.cat([cell(decoded[:, :old], sensory[:, :old], state.grid), sensory[:, old:]], 1)
