"""Files of weights: written whole or not at all, published without what only training needs."""

import hashlib
import io
import json
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

import mmstremn
from mmstremn.checkpoints.matching import checkpoint_weights
from mmstremn.checkpoints.reading import SAFETENSORS, read_checkpoint
from mmstremn.utils.atomic import write_atomically


def write_weights(path: Path, weights: dict[str, Tensor], meta: dict) -> str:
    """Write a checkpoint, ``.safetensors`` or ``.pth`` by the file's suffix; half of it is never seen.

    Args:
        path: The folder is made if need be.
        weights: The state dict.
        meta: Plain values; safetensors files hold them as JSON under 'meta'.

    Returns:
        The file's SHA-256.

    Raises:
        ValueError: Another suffix.
    """
    check_suffix(path)
    if path.suffix == SAFETENSORS:
        contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
        data = to_safetensors(contiguous, {'format': 'pt', 'meta': json.dumps(meta)})
    else:
        buffer = io.BytesIO()
        torch.save(dict(meta=meta, state_dict=weights), buffer)
        data = buffer.getvalue()
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def check_suffix(path: Path) -> None:
    """Raise a ValueError unless the suffix is one that :func:`write_weights` writes."""
    if path.suffix not in ('.pth', SAFETENSORS):
        raise ValueError(f"{path}: expected a file name that ends in '.pth' or '{SAFETENSORS}'")


def publish(source: Path, target: Path, half: bool = False) -> str:
    """Write the weights of a training's checkpoint without its optimizer, schedules, random state and config.

    The averaged weights are taken where the training had an ``EMAHook``.

    Args:
        source: A checkpoint.
        target: ``.safetensors`` or ``.pth``.
        half: Store numbers in half precision; models load them into their own.

    Returns:
        What was written, in words.

    Raises:
        FileNotFoundError: No source.
        FileExistsError: The target exists.
        ValueError: The source holds no weights or a weight that is not finite (in half precision, where asked
            for), or the target has another suffix.
    """
    check_suffix(target)
    if target.exists():
        raise FileExistsError(f'{target}: the file exists')
    if not source.is_file():
        raise FileNotFoundError(f'{source}: no such file')
    checkpoint = read_checkpoint(source)
    weights = checkpoint_weights(checkpoint, source) if isinstance(checkpoint, dict) else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(
            f"{source}: expected a checkpoint with weights (names and tensors) under 'state_dict'"
        )
    if half:
        weights = {
            name: value.half() if value.is_floating_point() else value for name, value in weights.items()
        }
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{source}: {name} is not finite{" in half precision" if half else ""}')
    meta = dict(
        mmstremn_version=mmstremn.__version__,
        source_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        iterations=checkpoint.get('meta', {}).get('iter'),
    )
    digest = write_weights(target, weights, meta)
    numbers = sum(value.numel() for value in weights.values())
    size = target.stat().st_size
    return f'{len(weights)} tensors, {numbers:,} numbers\n{target}: {size:,} bytes, SHA-256 {digest}'
