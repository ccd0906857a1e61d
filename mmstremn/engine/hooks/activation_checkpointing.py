"""Gradient checkpointing: parts of a model are computed again in backward, so that less is kept until
then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmstremn.registry import HOOKS


@HOOKS.register_module()
class ActivationCheckpointingHook(Hook):
    """Keep only the inputs of some modules for backward, which computes the rest again.

    The tools take mmengine's line ``activation_checkpointing = ['decoder']`` for this hook. mmengine's own
    function uses torch's reentrant checkpoints: with them a module whose inputs are frames, or whose tensors
    are in tuples and dataclasses, gets no gradient or a wrong one.

    Args:
        modules: Names of modules of the model, such as ``'key_encoder.backbone'``.

    Raises:
        ValueError: The model has no such module; the message names what its parent has.
    """

    def __init__(self, modules: list[str] | str):
        self.names = [modules] if isinstance(modules, str) else list(modules)

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.modules = [_find(model, name) for name in self.names]
        for module in self.modules:
            module.forward = _checkpointed(module)

    def after_train(self, runner) -> None:
        for module in self.modules:
            del module.forward  # that of the class comes back


def _find(model: nn.Module, name: str) -> nn.Module:
    parts = name.split('.')
    for index, part in enumerate(parts):
        children = dict(model.named_children())
        if part not in children:
            where = '.'.join(parts[:index]) or type(model).__name__
            has = ', '.join(children) or 'nothing'
            raise ValueError(f"activation_checkpointing: there is no module '{name}'; {where} has {has}")
        model = children[part]
    return model


def _checkpointed(module: nn.Module) -> Callable:
    """The forward of a module with torch's checkpoint that is not reentrant."""
    forward = module.forward

    @wraps(forward)
    def wrapper(*args, **kwargs):
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(
            forward,
            *args,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _keeping_statistics(module)),
            **kwargs,
        )

    return wrapper


@contextmanager
def _keeping_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms that train do not count the same batch twice."""
    norms = [m for m in module.modules() if getattr(m, 'track_running_stats', False) and m.training]
    kept = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, number in kept:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(number)
