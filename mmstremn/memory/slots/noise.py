"""Random numbers that follow from a sample's seed and the step, whatever batch or rank holds it."""

import torch
from torch import Tensor

from mmstremn.memory.slots.slot_state import SlotState

MASK = 2**32 - 1


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


def uniform_of(state: SlotState, stamps: Tensor) -> Tensor:
    """A number in [0, 1) for each frame of a stream, the same whenever it is asked for.

    Args:
        state: Its ``seeds`` decide; without seeds all streams have the same numbers.
        stamps: (B, G, N) long, the frames' steps.

    Returns:
        (B, G, N) float32.
    """
    seeds = torch.tensor(state.seeds or (0,), dtype=torch.long).to(stamps.device, non_blocking=True)
    group = torch.arange(stamps.shape[1], device=stamps.device)
    mixed = _mixed(_mixed(_mixed(seeds)[:, None] + group)[..., None] + stamps)
    return (mixed >> 8).float() / 2**24


def _mixed(number: Tensor) -> Tensor:
    """A hash of the lowest 32 bits (shifts and multipliers of lowbias32, Wellons, 2018), as a long."""
    number = number & MASK
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & MASK
    number = ((number ^ (number >> 15)) * 0x846CA68B) & MASK
    return number ^ (number >> 16)
