"""A watch for operations that make the host wait for the device."""

from torch.utils._python_dispatch import TorchDispatchMode

ASKING = (
    '_local_scalar_dense',
    'nonzero',
    'masked_select',
    'unique',
    'equal.default',
    'repeat_interleave.Tensor',
)


class NoQuestions(TorchDispatchMode):
    """Fails at every operation whose result the host must know before it can go on, and at every copy between
    devices that it has to wait for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        if any(asking in name for asking in ASKING):
            raise AssertionError(f'{name} makes the host wait for the device')
        if _is_awaited_copy(name, args, kwargs or {}):
            raise AssertionError(f'{name} makes the host wait for a copy between devices')
        if name.startswith('aten.index') and _has_index_elsewhere(args):
            raise AssertionError(f'{name} makes the host wait for a copy of its indices')
        return function(*args, **(kwargs or {}))


def _is_awaited_copy(name: str, args: tuple, kwargs: dict) -> bool:
    if '_to_copy' in name:
        device = kwargs.get('device')
        return device is not None and device.type != args[0].device.type and not kwargs.get('non_blocking')
    if name == 'aten.copy_.default':  # a number of the host is an argument of a kernel, not a copy
        target, source, non_blocking = (*args, kwargs.get('non_blocking', False))[:3]
        return source.dim() > 0 and source.device.type != target.device.type and not non_blocking
    return False


def _has_index_elsewhere(args: tuple) -> bool:
    """Of ``index(tensor, indices)`` and ``index_put(tensor, indices, values)``."""
    tensor, indices = args[:2]
    if not isinstance(indices, (list, tuple)):
        return False
    return any(index is not None and index.device.type != tensor.device.type for index in indices)
