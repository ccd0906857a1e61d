"""Work on many objects in chunks, so that it fits into the memory of the device."""

import logging
from collections.abc import Callable

import torch
from mmengine.logging import print_log
from torch import Tensor

CPU_NUMBERS = (
    2**20
)  # beyond, maps at stride 2 exceed the 32 MB above which malloc asks for new pages every time


class ObjectChunks:
    """Calls a function on a few objects at a time and joins what it returns.

    Args:
        size: Objects at once; None: all, on CPUs in evaluation as many as have ``CPU_NUMBERS`` numbers in
            their inputs. Where that runs out of GPU memory in evaluation it is halved until it fits, and
            stays so.
    """

    def __init__(self, size: int | None = None):
        self.size = size

    def __call__(self, function: Callable, *tensors: Tensor):
        """``function(*tensors)``, in chunks along the objects.

        Args:
            function: Returns a tensor (B, O, ...), or a tuple of such tensors and None.
            tensors: (B, O, ...).

        Raises:
            torch.OutOfMemoryError: Not even one object fits, or with gradients, which need all objects at
                once.
        """
        size = most = min(self.size or _preferred(tensors), tensors[0].shape[1])
        while (result := _attempt(function, tensors, size)) is None:
            size //= 2
        if size < most:
            self.size = size
            print_log(f'Out of GPU memory: from now on {size} objects at once', 'current', logging.WARNING)
        return result


def _preferred(tensors: tuple[Tensor, ...]) -> int:
    if tensors[0].device.type != 'cpu' or torch.is_grad_enabled():
        return tensors[0].shape[1]
    return max(1, CPU_NUMBERS // sum(tensor[:, 0].numel() for tensor in tensors))


def _attempt(function: Callable, tensors: tuple[Tensor, ...], size: int):
    """The result, or None where memory is short. What the failed call holds is free once this has
    returned."""
    try:
        return _in_chunks(function, tensors, size)
    except torch.OutOfMemoryError:
        if size == 1 or torch.is_grad_enabled():
            raise
        return None


def _in_chunks(function: Callable, tensors: tuple[Tensor, ...], size: int):
    if size == tensors[0].shape[1]:
        return function(*tensors)
    parts = [function(*chunk) for chunk in zip(*(tensor.split(size, 1) for tensor in tensors), strict=True)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts, 1)
    return tuple(None if some[0] is None else torch.cat(some, 1) for some in zip(*parts, strict=True))
