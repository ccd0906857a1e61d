"""What the processor can do."""

import torch


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether ``device`` is a CPU that multiplies matrices of bfloat16 by units of their own (Intel's AMX).

    There a frame of the shipped model takes less than half the time of float32 (docs/benchmarks.md). CPUs
    that have bfloat16 in their vector units alone were not measured, and count as without.
    """
    capabilities = getattr(torch.cpu, 'get_capabilities', dict)()  # not in every torch
    return device.type == 'cpu' and bool(capabilities.get('amx_bf16'))
