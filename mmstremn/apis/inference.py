"""A model from a config and a checkpoint."""

import copy
import dataclasses
import logging
from pathlib import Path
from typing import TypeVar

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from mmstremn.checkpoints.matching import (
    checkpoint_weights,
    has_own_weights,
    match,
    public_weights,
    shorten,
    with_own_weights,
    without_backbone_weights,
)
from mmstremn.checkpoints.reading import check_checkpoint_file, read_checkpoint
from mmstremn.models import VideoPredictor, VOSegmentor, fuse_conv_bn
from mmstremn.registry import MODELS, SCOPE
from mmstremn.utils.shipped_files import read_config

Model = TypeVar('Model', bound=BaseModel)


def init_segmentor(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    fuse: bool = False,
) -> VOSegmentor:
    """Build a model, load its weights and make it ready to segment.

    Args:
        config: A config, the path of one, or the name of one of ours such as ``vos/shipped_stremn.py``.
        checkpoint: A file, a URL or our own ``weights/stremn_r18.safetensors``, whose keys are the model's;
            what it has of another memory is left out, and the log says so. None leaves the model as it is
            initialised, with a warning. With a checkpoint
            the backbones' own weights are not loaded first, so their files need not be there. Of a
            ``Sam2Segmentor``: a folder or a name on the Hugging Face hub, instead of its config's.
        device: The first GPU if there is one, else the CPU, by default.
        precision: ``'float32'`` or ``'bfloat16'`` (see ``VOSegmentor``); the config's by default.
        fuse: Fold batch norms into convolutions (see :func:`~mmstremn.models.fuse_conv_bn`), for inference
            only: faster, equal but for rounding.

    Returns:
        The model in evaluation mode: ``start(frame, masks)`` begins a stream.

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: There is no such device, the checkpoint is damaged or no checkpoint, the config is of a
            video predictor, or its model takes no ``precision``.
        RuntimeError: The checkpoint is of another model; the message names the keys.
    """
    if precision is not None:
        config = copy.deepcopy(read_config(config))
        if has_own_weights(config.model):
            raise ValueError(f'precision: that of a {config.model.type} is model.dtype of its config')
        config.model.precision = precision
    model = _init_model(config, checkpoint, device, VOSegmentor)
    if fuse:
        fuse_conv_bn(model)
    return model


def init_predictor(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
) -> VideoPredictor:
    """Build a model, load its weights and make it ready to predict frames.

    Args:
        config, checkpoint, device: As of :func:`init_segmentor`.

    Returns:
        The model in evaluation mode: ``start(frame)`` begins a stream.

    Raises:
        FileNotFoundError: The config or the checkpoint does not exist.
        ValueError: There is no such device, the checkpoint is damaged or no checkpoint, or the config is of a
            segmentor or of a predictor that cannot stream (``SimVP``).
        RuntimeError: The checkpoint is of another model; the message says if it is a segmentor's and names
            the keys.
    """
    return _init_model(config, checkpoint, device, VideoPredictor)


def _init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    device: str | torch.device | None,
    expected: type[Model],
) -> Model:
    device = _usable(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    config = read_config(config)
    parts = config.model
    if checkpoint is not None and has_own_weights(parts):
        parts, checkpoint = with_own_weights(parts, str(checkpoint)), None
    elif checkpoint is not None:
        check_checkpoint_file(str(checkpoint))
        parts = without_backbone_weights(parts)
    with DefaultScope.overwrite_default_scope(config.get('default_scope', SCOPE)):
        model = MODELS.build(parts)
    if not isinstance(model, expected) and not _segments(model, expected):
        raise ValueError(
            f'{config.filename or "config"}: its model is a {type(model).__name__}, expected a '
            f'{expected.__name__}'
        )
    if checkpoint is not None:
        _load(model, str(checkpoint))
    elif not has_own_weights(parts):
        hint = public_weights(type(getattr(model, 'memory', None)).__name__)
        message = f'{type(model).__name__}: no checkpoint, its weights are random{hint}'
        print_log(message, 'current', logging.WARNING)
    return model.to(device).eval()


def _usable(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition('\n')[0]
        raise ValueError(f"device {device!r}: expected 'cpu', 'cuda' or 'cuda:1' ({reason})") from error


def _segments(model: torch.nn.Module, expected: type) -> bool:
    """Whether a segmentor is expected and an adapter's model offers the same streaming calls."""
    return expected is VOSegmentor and hasattr(model, 'new_stream') and hasattr(model, 'load_stream')


def _load(model: torch.nn.Module, checkpoint: str) -> None:
    """Load weights that have all that the model needs; what they have of another memory is left out."""
    weights = checkpoint_weights(read_checkpoint(checkpoint), checkpoint)
    found = match(weights, model)
    if found.unexpected and all(key.startswith('memory.') for key in found.unexpected):
        print_log(
            f'{checkpoint}: trained with another memory, of which {len(found.unexpected)} weights are left '
            f'out: {shorten(found.unexpected)}',
            'current',
        )
        found = dataclasses.replace(found, unexpected=())
    if message := found.message:
        of_segmentor = any(key.startswith('value_encoder.') for key in weights)
        kind = (
            'it is the checkpoint of a segmentor; '
            if of_segmentor and not isinstance(model, VOSegmentor)
            else ''
        )
        raise RuntimeError(f'{checkpoint}: {kind}{message}')
    model.load_state_dict({key: weights[key] for key in found.fitting})
