"""Configs and weights that come with the library, found alike from a repository and from an installed wheel.

``mmstremn/.mim`` holds both: links to the folders ``configs``, ``tools`` and ``weights`` in the repository,
their files in a wheel. mim and mmengine look there too.
"""

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmstremn.similar import did_you_mean

MIM = Path(__file__).parents[1] / '.mim'
CONFIGS, WEIGHTS = MIM / 'configs', MIM / 'weights'


def find_config(name: str | Path) -> str:
    """The path of a config.

    Args:
        name: A file, which goes first, or the name of one of the library's configs:
            ``vos/shipped_stremn.py``, ``configs/vos/shipped_stremn.py`` or
            ``mmstremn::vos/shipped_stremn.py``.

    Raises:
        FileNotFoundError: It is neither; the message names the most similar config.
    """
    if Path(name).is_file():
        return str(name)
    if found := _shipped(CONFIGS, str(name).removeprefix('mmstremn::').removeprefix('configs/')):
        return found
    there = [path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob('**/[!_]*.py')]
    raise FileNotFoundError(f'config {name}: no such file.{did_you_mean(str(name), there, 0.7)}')


def read_config(
    config: str | Path | Config, options: Mapping[str, Any] | None = None, needs_model: bool = True
) -> Config:
    """The config of a file, or of a name as :func:`find_config` takes it.

    Args:
        config: Its name; one that is read already is returned, changed by the options.
        options: Changes of its settings, see :func:`merge_options`.
        needs_model: Whether it must have a ``model``.

    Raises:
        FileNotFoundError: It, or one that it is based on, is missing.
        ValueError: It cannot be read, or it has no model, or an option is of no setting; the message names
            it.
    """
    cfg = config if isinstance(config, Config) else _read(find_config(config))
    merge_options(cfg, options or {})
    model = cfg.get('model')
    if needs_model and not (isinstance(model, dict) and 'type' in model):
        raise ValueError(
            f'config {cfg.filename or "without a file"}: expected model = dict(type=...), found {model!r:.40}'
        )
    return cfg


def _read(path: str) -> Config:
    try:
        return Config.fromfile(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'config {path}: {error}') from error
    except Exception as error:  # whatever the program that a config is can raise
        reason = f'{type(error).__name__}: {error}'
        raise ValueError(
            f'config {path}: expected a config of mmengine, reading it fails ({reason})'
        ) from error


READ = {
    *('activation_checkpointing', 'efficient_conv_bn_eval', 'find_unused_parameters', 'model_wrapper_cfg'),
    *('runner_type', 'sync_bn', 'test_pipeline'),
}
"""Settings that are no arguments of a runner: they are read from the whole config."""


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Change settings of a config as ``--cfg-options`` asks.

    Variables that a config file only computes with are changed too, which a warning says to have no effect.

    Args:
        cfg: Changed in place.
        options: Values by the path of the setting, such as ``model.memory.num_slots``.

    Raises:
        ValueError: A setting that neither the config has nor a runner reads; the message names the most
            similar one.
    """
    settings = _settings() if options else set()
    for option in options:
        name = option.split('.')[0]
        if name in settings:
            continue
        if name not in cfg:
            hint = did_you_mean(name, settings | cfg.keys())
            raise ValueError(f"--cfg-options {option}: the config has no '{name}'.{hint}")
        print_log(
            f'--cfg-options {option}: {name} is a variable of the config file, which no runner reads; set '
            'what the file makes of it, such as train_cfg.max_iters',
            'current',
            logging.WARNING,
        )
    cfg.merge_from_dict(dict(options))


def _settings() -> set[str]:
    """The keys of a config that runners, the library and mmsegmentation's inference read."""
    from mmengine.runner import FlexibleRunner, Runner

    names = {
        name for kind in (Runner, FlexibleRunner) for name in inspect.signature(kind.__init__).parameters
    }
    return names | READ


def find_weights(name: str | Path) -> str:
    """The path of a checkpoint, which may be the library's own: ``weights/stremn_r18.safetensors``.

    A file of that name in the current folder goes first. URLs, and what is nowhere, are returned as they are.
    """
    if Path(name).is_file():
        return str(name)
    return _shipped(WEIGHTS, str(name).removeprefix('weights/')) or str(name)


def _shipped(folder: Path, name: str) -> str | None:
    """A file below one of the library's folders."""
    path = folder / name
    inside = not Path(name).is_absolute() and '..' not in Path(name).parts
    return str(path) if inside and path.is_file() else None
