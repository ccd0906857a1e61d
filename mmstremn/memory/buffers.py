"""Tensors of states: slots that are filled, objects that join and leave, values side by side."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def empty_slots(tensor: Tensor, number: int) -> Tensor:
    """Zeros (B, M, S, ...) that ``number`` S of a tensor (B, M, ...) fit into."""
    return tensor.new_zeros(*tensor.shape[:2], number, *tensor.shape[2:])


def put(buffer: Tensor, start: int, new: Tensor) -> Tensor:
    """Put ``new`` (B, M, n, ...) at ``start`` of ``buffer`` (B, M, S, ...).

    With gradients the result is another tensor.
    """
    if torch.is_grad_enabled():
        return torch.slice_scatter(buffer, new.to(buffer.dtype), 2, start, start + new.shape[2])
    buffer.narrow(2, start, new.shape[2]).copy_(new)
    return buffer


def to_device(numbers: Sequence[float], like: Tensor) -> Tensor:
    """``numbers`` as a vector with type and device of ``like``; the host does not wait for the copy."""
    return torch.tensor(numbers, dtype=like.dtype).to(like.device, non_blocking=True)


def append_objects(tensor: Tensor, number: int, fill: int = 0) -> Tensor:
    """A tensor (B, O, ...) with ``number`` objects more, which are ``fill``."""
    return torch.cat([tensor, tensor.new_full((tensor.shape[0], number, *tensor.shape[2:]), fill)], 1)


def keep_objects(tensor: Tensor, kept: list[int]) -> Tensor:
    """A tensor (B, O, ...) with the objects ``kept`` alone."""
    return tensor.index_select(1, torch.tensor(kept, device=tensor.device))


def birth_groups(births: tuple[int, ...]) -> list[tuple[int, slice]]:
    """Each step at which objects were born, and those objects.

    ``births`` never decrease, as objects join at the end.
    """
    sizes = [(birth, len(list(members))) for birth, members in itertools.groupby(births)]
    stops = itertools.accumulate(size for _, size in sizes)
    return [(birth, slice(stop - size, stop)) for (birth, size), stop in zip(sizes, stops, strict=True)]


def side_by_side(values: Tensor) -> Tensor:
    """(B, O, ..., C) to (B, ..., O * C): one attention serves the values of all objects."""
    return values.movedim(1, -2).flatten(-2)


def by_object(values: Tensor, objects: int) -> Tensor:
    """The reverse: (B, ..., O * C) to (B, O, ..., C)."""
    return values.unflatten(-1, (objects, -1)).movedim(-2, 1)
