"""Public checkpoints of other code, rewritten for our models: rules, their application, reading."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import mmstremn
from mmstremn.checkpoints.matching import SHOWN, shorten, without_backbone_weights
from mmstremn.checkpoints.reading import read_checkpoint
from mmstremn.checkpoints.weight_files import check_suffix, write_weights
from mmstremn.registry import MODELS
from mmstremn.utils.shipped_files import read_config


@dataclass(frozen=True)
class Rule:
    """Where a weight of ours comes from.

    Attributes:
        target: Our key; each ``*`` stands for any text.
        sources: Their keys; their ``*`` stand for the same texts, in order.
        make: From the sources' tensors to ours; a plain copy if None.
    """

    target: str
    sources: tuple[str, ...]
    make: Callable[..., Tensor] | None = None

    def resolve(self, key: str) -> tuple[str, ...] | None:
        """The sources of ``key``, or None if the rule is not for it."""
        match = re.fullmatch(re.escape(self.target).replace(r'\*', '(.*)'), key)
        if match is None:
            return None
        return tuple(_fill(source, match.groups()) for source in self.sources)


def _fill(pattern: str, texts: tuple[str, ...]) -> str:
    for text in texts:
        pattern = pattern.replace('*', text, 1)
    return pattern


@dataclass(frozen=True)
class Architecture:
    """The public weights of one model.

    Attributes:
        name: As people call it.
        rules: The first that fits a key of ours counts.
        mark: A key that no other public model here has.
        configs: The config of weights that hold a key; the first that fits counts, None always does.
        constants: Buffers that the public code also saves, with the values that ours are built for.
        training_only: The beginnings of keys that only a loss of the public code reads; they are left out.
    """

    name: str
    rules: tuple[Rule, ...]
    mark: str
    configs: tuple[tuple[str | None, str], ...]
    constants: tuple[tuple[str, tuple[float, ...]], ...] = ()
    training_only: tuple[str, ...] = ()

    def config_of(self, weights: dict[str, Tensor]) -> Path:
        """The config whose model the weights are for."""
        return Path(next(config for key, config in self.configs if key is None or key in weights))


def convert(
    weights: dict[str, Tensor], architecture: Architecture, model: torch.nn.Module
) -> dict[str, Tensor]:
    """The state dict of ``model`` from public weights; every key is used exactly once.

    ``num_batches_tracked`` may be missing, as older versions of PyTorch did not save it.

    Raises:
        ValueError: Keys are missing, left over, of another shape or not finite; the message names them.
    """
    left = {key: value for key, value in weights.items() if not key.startswith(architecture.training_only)}
    missing, wrong, infinite, out = [], [], [], {}
    for name, values in architecture.constants:
        given = left.pop(name, None)
        if given is None:
            missing.append(name)
        elif given.numel() != len(values) or not torch.allclose(
            given.flatten().double(), torch.tensor(values).double(), atol=1e-6
        ):
            wrong.append(
                f'{name} is {[round(v, 6) for v in given.flatten().tolist()]} instead of {list(values)}'
            )
    for key, wanted in model.state_dict().items():
        rule, sources = _rule_of(key, architecture)
        absent = [source for source in sources if source not in left]
        if absent == list(sources) and key.endswith('num_batches_tracked'):
            out[key] = torch.zeros(wanted.shape, dtype=wanted.dtype)
        elif absent:
            missing += absent
        else:
            given = [left.pop(source) for source in sources]
            try:
                made = rule.make(*given) if rule.make else given[0]
            except (RuntimeError, IndexError):  # tensors of shapes that do not go together
                made = None
            if made is None or made.shape != wanted.shape:
                shapes = ', '.join(f'{s} {tuple(t.shape)}' for s, t in zip(sources, given, strict=True))
                wrong.append(f'{shapes} for our {key} {tuple(wanted.shape)}')
            elif not made.isfinite().all():
                infinite += sources
            else:
                out[key] = made.to(wanted.dtype).contiguous().clone()
    kinds = {'missing': missing, 'unexpected': sorted(left), 'misshapen': wrong, 'not finite': infinite}
    if message := '; '.join(f'{len(keys)} {kind}: {shorten(keys)}' for kind, keys in kinds.items() if keys):
        raise ValueError(f'these are not the weights of {architecture.name}: {message}')
    return out


def _rule_of(key: str, architecture: Architecture) -> tuple[Rule, tuple[str, ...]]:
    for rule in architecture.rules:
        if (sources := rule.resolve(key)) is not None:
            return rule, sources
    raise KeyError(f'no rule of {architecture.name} is for {key}: the config is of another model')


def read_public_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file: a state dict, or one under 'network', 'state_dict' or 'model'.

    The prefix ``module.`` of data parallel models is dropped.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file cannot be read, needs code that is not trusted, or holds no state dict.
    """
    found = read_checkpoint(path)
    for name in ('network', 'state_dict', 'model'):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items())
    ):
        what = (
            f'a dict with {", ".join(map(str, list(found)[:SHOWN]))}'
            if isinstance(found, dict)
            else type(found).__name__
        )
        raise ValueError(f'{path}: expected a state dict (names and tensors), found {what}')
    return {name.removeprefix('module.'): value for name, value in found.items()}


def build_model(config: str | Path) -> torch.nn.Module:
    """The model of a config, with random weights.

    Raises:
        FileNotFoundError: No such config.
    """
    return MODELS.build(without_backbone_weights(read_config(config).model))


def convert_file(source: Path, target: Path, architecture: Architecture, config: Path | None = None) -> str:
    """Convert a public checkpoint file.

    Args:
        source: Read.
        target: Written.
        architecture: Of the source.
        config: Of our model; None: the one that fits the weights.

    Returns:
        What was written, in words.

    Raises:
        FileNotFoundError: No source or no config.
        FileExistsError: The target exists.
        ValueError: As of :func:`read_public_weights`, :func:`convert` and :func:`write_weights`.
    """
    check_suffix(target)
    if target.exists():
        raise FileExistsError(f'{target}: the file exists')
    weights = read_public_weights(source)
    config = config or architecture.config_of(weights)
    try:
        converted = convert(weights, architecture, build_model(config))
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    meta = dict(architecture=architecture.name, source=source.name, source_sha256=digest, config=config.name)
    written = write_weights(target, converted, meta | dict(mmstremn_version=mmstremn.__version__))
    numbers = sum(tensor.numel() for tensor in converted.values())
    return (
        f'{len(weights)} tensors of {architecture.name} became {len(converted)} of {config.name}, '
        f'{numbers:,} numbers\n'
        f'{target}: SHA-256 {written}'
    )
