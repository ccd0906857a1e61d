"""Which weights of a checkpoint fit a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

SHOWN = 10  # keys that a message names
PUBLIC = dict(
    TwoLevelMemory=('XMem', 'vos/xmem_official.py'),
    CutieMemory=('Cutie', 'vos/cutie_base_official.py'),
)
"""Papers and configs of the public weights that memories with parameters of their own have, by class."""


@dataclass(frozen=True)
class Match:
    """The weights of a state dict beside those of a model; all names are sorted.

    Attributes:
        model: The name of its class.
        fitting: Keys of both, of one shape.
        missing: Keys of the model alone.
        unexpected: Keys of the state dict alone.
        misshapen: Keys of both, of different shapes.
        shapes: The misshapen ones with both shapes, in words.
        not_finite: Keys that fit, but hold NaN or infinite numbers.
        memory: The name of the class of the model's memory.
    """

    model: str
    fitting: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    shapes: tuple[str, ...]
    not_finite: tuple[str, ...] = ()
    memory: str = ''

    @property
    def message(self) -> str:
        """What is missing, unexpected, of another shape and not finite; '' if all weights fit."""
        kinds = {'missing': self.missing, 'unexpected': self.unexpected, 'of another shape': self.shapes}
        kinds |= {'not finite': self.not_finite}
        what = '; '.join(f'{len(keys)} keys {kind}: {shorten(keys)}' for kind, keys in kinds.items() if keys)
        hint = public_weights(self.memory) if self.missing else ''
        return what and f'the checkpoint does not fit {self.model}: {what}{hint}'


def match(given: dict, model: nn.Module, wanted: dict | None = None) -> Match:
    """Compare a state dict (:func:`checkpoint_weights`) with a model's, or with ``wanted``."""
    wanted = model.state_dict() if wanted is None else wanted
    common = sorted(wanted.keys() & given.keys())
    misshapen = [key for key in common if getattr(given[key], 'shape', None) != wanted[key].shape]
    return Match(
        model=type(model).__name__,
        fitting=tuple(key for key in common if key not in misshapen),
        missing=tuple(sorted(wanted.keys() - given.keys())),
        unexpected=tuple(sorted(given.keys() - wanted.keys())),
        misshapen=tuple(misshapen),
        shapes=tuple(
            f'{key} {_shape(given[key])} instead of {tuple(wanted[key].shape)}' for key in misshapen
        ),
        not_finite=tuple(
            key for key in common if key not in misshapen and not bool(given[key].isfinite().all())
        ),
        memory=type(getattr(model, 'memory', None)).__name__,
    )


def public_weights(memory: str) -> str:
    """Where trained weights of a memory are, as the end of a message; '' where nobody has published some.

    Args:
        memory: The name of its class.
    """
    if memory not in PUBLIC:
        return ''
    paper, config = PUBLIC[memory]
    return f'. Weights with a {memory}: the public ones of {paper} with {config} (docs/converters.md)'


def _shape(value) -> str:
    return str(tuple(value.shape)) if hasattr(value, 'shape') else type(value).__name__


def checkpoint_weights(checkpoint: dict, source: str | Path | None = None) -> dict:
    """The state dict in a checkpoint, without the prefix that a data parallel wrapper gives its keys.

    Args:
        checkpoint: What was read.
        source: Its file, for the message.

    Raises:
        ValueError: It holds something else.
    """
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        named = '' if source is None else f'{source}: '
        raise ValueError(
            f'{named}expected a checkpoint with weights (names and tensors), at its top or under '
            f"'state_dict', got a {type(weights).__name__}"
        )
    return {re.sub(r'^module\.', '', key): value for key, value in weights.items()}


def fitting_weights(given: dict, model: nn.Module, allow_missing: bool) -> tuple[dict, list[str]]:
    """What of a state dict fits a model, and the model's parameters that it lacks or has in another shape.

    Args:
        given: By name.
        model: What the state dict has beyond it is left alone.
        allow_missing: Go on without some, unless none fits at all.

    Raises:
        RuntimeError: Parameters are missing.
    """
    found = match(given, model)
    missing = sorted((*found.missing, *found.misshapen))
    if missing and not found.fitting:
        raise RuntimeError('the checkpoint is of another model: it has none of the parameters')
    if missing and not allow_missing:
        raise RuntimeError(
            f'the checkpoint lacks {len(missing)} parameters (--allow-missing leaves them random): '
            f'{", ".join(missing)}{public_weights(found.memory)}'
        )
    return {key: given[key] for key in found.fitting}, missing


def without_backbone_weights(model: dict) -> dict:
    """The config of a model whose backbones are not loaded first, for a model that gets all weights from a
    checkpoint."""
    model = model.copy()
    for name in {'backbone', 'value_backbone'} & model.keys():
        model[name] = {
            key: value for key, value in model[name].items() if key not in ('checkpoint', 'pretrained')
        }
    return model


def shorten(keys: Sequence[str]) -> str:
    """The first of many keys, and how many more there are."""
    more = f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''
    return ', '.join(keys[:SHOWN]) + more


def has_own_weights(config: dict) -> bool:
    """Whether a model's config says where its weights are, or that they are random (``Sam2Segmentor``)."""
    return config.get('checkpoint') is not None or config.get('tracker') is not None


def with_own_weights(config: dict, checkpoint: str) -> dict:
    """The config of a model of :func:`has_own_weights` that reads them from ``checkpoint`` instead: a folder
    or a name on the hub."""
    config = config.copy()
    config.pop('tracker', None)
    config['checkpoint'] = checkpoint
    return config
