"""Gates of recurrent cells for training, which keep each number that backward needs once.

Autograd would keep states that are stacked or joined twice, besides the results of every sigmoid and tanh.
These functions write states into storage that is shared, keep the gates, and find a tanh of a state again in
backward. The convolutions stay outside. Only first derivatives.

Letters: w is the number of channels of a state.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable


class LSTMGates(Function):
    """``c' = sig(f) c + sig(i) tanh(g)`` and ``h' = sig(o) tanh(c')``."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, c: Tensor, new_h: Tensor, new_c: Tensor) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            ctx: For backward.
            sums: (B, 4 w, ...) of i, f, g, o; overwritten.
            c: (B, w, ...).
            new_h: (B, w, ...) gets h'.
            new_c: (B, w, ...) gets c'.

        Returns:
            The last two.
        """
        gates = alias(sums)
        i, f, g, o = gates.chunk(4, 1)
        i.sigmoid_(), f.sigmoid_(), g.tanh_(), o.sigmoid_()
        torch.addcmul(i * g, f, c, out=new_c)
        torch.mul(o, new_c.tanh(), out=new_h)
        ctx.mark_dirty(new_h, new_c)
        ctx.save_for_backward(gates, c, new_c)
        return new_h, new_c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        gates, c, new_c = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, 1)
        tanh_c, grads = new_c.tanh(), torch.empty_like(gates)
        grad_o, grad_c = grad_h * tanh_c, grad_c + grad_h * o * (1 - tanh_c * tanh_c)
        _fill_update(grads, i, f, g, c, grad_c, grad_c)
        grads.narrow(1, 3 * c.shape[1], c.shape[1]).copy_(grad_o * o * (1 - o))
        return grads, grad_c * f, None, None


class STLSTMGates(Function):
    """The updates of c and m in an ST-LSTM, and what x and h say about the output gate."""

    @staticmethod
    def forward(
        ctx: Any,
        from_x: Tensor,
        from_h: Tensor,
        from_m: Tensor,
        c: Tensor,
        m: Tensor,
        both: Tensor,
        new_c: Tensor,
        new_m: Tensor,
    ) -> tuple[Tensor, ...]:
        """One step.

        Args:
            ctx: For backward.
            from_x: (B, 7 w, ...) i, f, g, i', f', g', o.
            from_h: (B, 4 w, ...) i, f, g, o.
            from_m: (B, 3 w, ...) i', f', g'.
            c: (B, w, ...).
            m: (B, w, ...).
            both: (B, 2 w, ...) for c and m side by side, in the storage of the next two.
            new_c: (B, w, ...) the first half of ``both``.
            new_m: (B, w, ...) the second half.

        Returns:
            The last three, the output gate's sum, and what was added to c and to m, (B, w, ...) each.
        """
        width = c.shape[1]
        gates_c = from_x[:, : 3 * width] + from_h[:, : 3 * width]
        gates_m = from_x[:, 3 * width : 6 * width] + from_m
        added = []
        for gates, old, new in ((gates_c, c, new_c), (gates_m, m, new_m)):
            i, f, g = gates.chunk(3, 1)
            i.sigmoid_(), f.add_(1).sigmoid_(), g.tanh_()
            added.append(i * g)
            torch.addcmul(added[-1], f, old, out=new)
        ctx.mark_dirty(both, new_c, new_m)
        ctx.save_for_backward(gates_c, gates_m, c, m)
        return both, new_c, new_m, from_x[:, 6 * width :] + from_h[:, 3 * width :], *added

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_both: Tensor,
        grad_c: Tensor,
        grad_m: Tensor,
        grad_o: Tensor,
        grad_added_c: Tensor,
        grad_added_m: Tensor,
    ) -> tuple[Tensor | None, ...]:
        gates_c, gates_m, c, m = ctx.saved_tensors
        width = c.shape[1]
        of_c, of_m = grad_both.chunk(2, 1)
        grad_c, grad_m = grad_c + of_c, grad_m + of_m
        from_x = gates_c.new_empty(c.shape[0], 7 * width, *c.shape[2:])
        i, f, g = gates_c.chunk(3, 1)
        _fill_update(from_x, i, f, g, c, grad_c, grad_c + grad_added_c)
        from_m = from_x[:, 3 * width : 6 * width]
        i, f, g = gates_m.chunk(3, 1)
        _fill_update(from_m, i, f, g, m, grad_m, grad_m + grad_added_m)
        from_x[:, 6 * width :] = grad_o
        from_h = torch.cat([from_x[:, : 3 * width], from_x[:, 6 * width :]], 1)
        old_c, old_m = (grad * gates.chunk(3, 1)[1] for grad, gates in ((grad_c, gates_c), (grad_m, gates_m)))
        return from_x, from_h, from_m, old_c, old_m, None, None, None


class GatedOutput(Function):
    """``h = sig(o) tanh(z)``."""

    @staticmethod
    def forward(ctx: Any, o: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """``o`` and ``z`` (B, w, ...) are overwritten; the result is written to ``h``."""
        gate, tanh_z = alias(o).sigmoid_(), alias(z).tanh_()
        torch.mul(gate, tanh_z, out=h)
        ctx.mark_dirty(h)
        ctx.save_for_backward(gate, tanh_z)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, tanh_z = ctx.saved_tensors
        grad = grad * gate
        weighted = grad * tanh_z
        of_z = torch.addcmul(grad, weighted, tanh_z, value=-1)
        return (
            torch.addcmul(weighted, weighted, gate, value=-1).to(gate.dtype),
            of_z.to(tanh_z.dtype),
            None,
        )


class _Joined(Function):
    """A tensor (B, L, ...) as the stack of the parts that its storage holds already."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, *parts: Tensor) -> Tensor:
        ctx.mark_dirty(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, *grad.unbind(1)


def joined(parts: list[Tensor], whole: Tensor | None = None) -> Tensor:
    """The stack (B, L, ...) of ``parts`` (B, ...).

    Args:
        parts: Aliases of ``whole[:, 0]``, ``whole[:, 1]``, ..., or any tensors.
        whole: What holds them already; None: they are copied.
    """
    return torch.stack(parts, 1) if whole is None else _Joined.apply(whole, *parts)


def alias(view: Tensor) -> Tensor:
    """A tensor on the storage of ``view`` that autograd takes for another.

    Writing beside it does not invalidate it.
    """
    own = torch.empty(0, dtype=view.dtype, device=view.device)
    return own.set_(view.untyped_storage(), view.storage_offset(), view.shape, view.stride())


def _fill_update(
    room: Tensor, i: Tensor, f: Tensor, g: Tensor, old: Tensor, grad: Tensor, grad_added: Tensor
) -> None:
    """Write the gradients of the sums of i, f and g to ``room``, where ``new = f old + i g``.

    Args:
        room: (B, 3 w or more, ...).
        i: sig of its sum.
        f: sig of its sum.
        g: tanh of its sum.
        old: State before.
        grad: Of ``new``.
        grad_added: Of ``i g``, that through ``new`` among it.
    """
    of_i, of_f, of_g = room[:, : 3 * old.shape[1]].chunk(3, 1)
    added = i * grad_added
    with_g, with_f = added * g, grad * old * f
    torch.addcmul(with_g, with_g, i, value=-1, out=of_i)
    torch.addcmul(with_f, with_f, f, value=-1, out=of_f)
    torch.addcmul(added, with_g, g, value=-1, out=of_g)
