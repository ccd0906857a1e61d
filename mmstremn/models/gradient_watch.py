"""Which parameters get a gradient in training."""

from functools import partial

import torch
from torch import Tensor, nn


class GradientWatch:
    """Records which trainable parameters of a module get a gradient other than zero; on their device, so that
    nothing is synchronised until it is asked.

    Hooks on the parameters see the gradient that backward leaves, before the optimizer clears it.

    Attributes:
        passes: Backward passes that reached the module.
    """

    def __init__(self, module: nn.Module):
        self.passes = 0
        self._largest: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._handles = [
            parameter.register_post_accumulate_grad_hook(partial(self._record, name))
            for name, parameter in module.named_parameters()
            if parameter.requires_grad and parameter.is_leaf
        ]

    def _record(self, name: str, parameter: Tensor) -> None:
        assert parameter.grad is not None
        largest = parameter.grad.detach().abs().amax()
        if name in self._largest:
            largest = torch.maximum(largest, self._largest[name])
        self._largest[name] = largest
        self._counts[name] = self._counts.get(name, 0) + 1
        self.passes = max(self.passes, self._counts[name])

    def pop(self) -> set[str]:
        """The parameters that a gradient reached since the last call."""
        reached = {name for name, largest in self._largest.items() if float(largest) != 0}
        self._largest = {}
        return reached

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()
