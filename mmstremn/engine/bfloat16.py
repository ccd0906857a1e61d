"""Mixed precision in bfloat16, on CPUs too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmstremn.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` whose forward passes run under bfloat16 autocast; ``--amp`` of the training
    tool.

    Weights, their gradients and the optimizer stay in float32. bfloat16 has the range of float32, so losses
    are not scaled, and checkpoints are those of ``OptimWrapper``. GPUs that have no bfloat16 (before Ampere)
    need mmengine's ``AmpOptimWrapper``, which scales losses in float16 and does not run on CPUs.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
