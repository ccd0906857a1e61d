"""Random numbers that follow from a sample's seed and the step, whatever batch or rank holds it."""

import torch
from torch import Tensor

from mmstremn.memory.slots.slot_state import SlotState


def uniform(state: SlotState, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1).

    Args:
        state: Its ``seeds`` and ``step`` decide; without seeds the global generator does.
        shape: Of one sample.

    Returns:
        (B, *shape) float32.
    """
    device = state.written_at.device
    if state.seeds is None:
        return torch.rand(state.written_at.shape[0], *shape, device=device)
    rows = [
        torch.rand(shape, generator=torch.Generator().manual_seed((seed * 1_000_003 + state.step) % 2**63))
        for seed in state.seeds
    ]
    return torch.stack(rows).to(device, non_blocking=True)
