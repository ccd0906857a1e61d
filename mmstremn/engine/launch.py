"""What the training and the test tool share: arguments, config, the checks of both, the runner."""

import argparse
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from mmstremn.engine.distributed import init_cpu_processes
from mmstremn.engine.hooks.checkpoint import in_folder
from mmstremn.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    SCOPE,
    TRANSFORMS,
    check_arguments,
    find,
)
from mmstremn.utils.shipped_files import read_config


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that ``tools/train.py`` and ``tools/test.py`` have in common, named as in every MM
    project."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints (default: ./work_dirs/<name of the config>)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config: a.b=1 list="[1,2]" (no spaces inside)',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by old launchers')


def load_config(
    path: str,
    cfg_options: dict | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
    local_rank: int = 0,
) -> Config:
    """The config with the command line's changes, checked.

    Args:
        path: Of the config, or the name of one of ours such as ``vos/shipped_stremn.py``.
        cfg_options, work_dir, launcher, local_rank: See :func:`add_common_arguments`.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It cannot be read.
        KeyError: A ``type`` is not registered; the message names what is.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = read_config(path, cfg_options, needs_model=False)
    cfg.launcher = launcher
    cfg.setdefault('default_scope', SCOPE)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    for key in ('train', 'val', 'test'):
        _without_idle_workers(cfg.get(f'{key}_dataloader') or {})
    check_types(cfg)
    return cfg


def _without_idle_workers(loader: dict) -> None:
    """PyTorch refuses what only workers need where there are none."""
    if loader.get('num_workers') == 0:
        for option in {'persistent_workers', 'prefetch_factor', 'timeout'} & loader.keys():
            del loader[option]


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """The file that ``last_checkpoint`` names in a work folder, wherever that was moved or copied to.

    Returns:
        None where there is no ``last_checkpoint``.

    Raises:
        FileNotFoundError: The file is neither in the folder nor where it was written.
        ValueError: ``last_checkpoint`` names none.
    """
    record = Path(work_dir, 'last_checkpoint')
    if not record.is_file():
        return None
    name = record.read_text('utf-8', errors='replace').strip()
    if not name:
        raise ValueError(
            f'{record}: expected the path of a checkpoint, it is empty; give the checkpoint to go on from'
        )
    written = Path(name)
    path = in_folder(written, work_dir)
    if not path.exists():
        raise FileNotFoundError(
            f'{record} names {written}: expected this file, or {written.name} in {work_dir}; give the '
            'checkpoint to go on from'
        )
    return str(path)


def check_resumable(cfg: Config) -> None:
    """Whether the runner of a config can go on from a checkpoint.

    Raises:
        ValueError: Its weights are spread over processes (``FSDPStrategy``): mmengine calls
            ``FSDP.optim_state_dict_to_load`` with its arguments in an order that PyTorch no longer takes.
    """
    strategy = cfg.get('strategy') or {}
    if cfg.get('runner_type') and 'FSDP' in str(strategy.get('type')):
        raise ValueError(
            f'{cfg.load_from}: cannot be resumed with strategy.type={strategy["type"]}: mmengine cannot '
            'resume such a training. To start anew from its weights use load_from'
        )


def build_runner(cfg: Config) -> Runner | FlexibleRunner:
    """The runner of a config (its ``runner_type``, else a ``Runner``), its process group first where there is
    no GPU.

    ``activation_checkpointing`` becomes an ``ActivationCheckpointingHook``: mmengine's own function loses
    gradients.

    Raises:
        KeyError: There is no runner of the ``runner_type``.
        ValueError: A ``strategy`` without effect.
    """
    if cfg.get('strategy') and not cfg.get('runner_type'):
        raise ValueError("strategy: has no effect without runner_type='FlexibleRunner'")
    if cfg.launcher != 'none':
        init_cpu_processes(cfg, cfg.launcher)
    if modules := cfg.pop('activation_checkpointing', None):
        add_hook(cfg, type='mmstremn.ActivationCheckpointingHook', modules=modules)
    if 'runner_type' not in cfg:
        return _counting_frozen(Runner.from_cfg(cfg))
    if RUNNERS.get(cfg.runner_type) is None:
        known = ', '.join(sorted(RUNNERS.module_dict))
        raise KeyError(f'runner_type: {cfg.runner_type!r} is not registered, expected one of {known}')
    cfg.setdefault('env_cfg', {})  # a FlexibleRunner does not start without
    return _counting_frozen(RUNNERS.build(cfg))


def _counting_frozen(runner: Runner | FlexibleRunner) -> Runner | FlexibleRunner:
    """The runner without mmengine's warning of each frozen parameter: ``LearningCheckHook`` counts them."""
    runner.logger.addFilter(_is_not_of_frozen)
    return runner


def _is_not_of_frozen(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith('is skipped since its requires_grad=False')


def check_types(cfg: Config) -> None:
    """Look up every ``type`` of the config's main parts, and compare their arguments with what it takes.

    Raises:
        KeyError: One is not registered; the message names where it is and what is registered.
        TypeError: An argument of a class of ours is unknown, or its value has another type than its hint; a
            part of ours does not fit the model around it.
        ValueError: A number of the optimizer is text, or a number of channels is none.
    """
    scope = cfg.get('default_scope') or SCOPE
    for key in ('train', 'val', 'test'):
        loader = cfg.get(f'{key}_dataloader') or {}
        _check(loader.get('dataset'), DATASETS, f'{key}_dataloader.dataset', scope)
        _check(loader.get('sampler'), DATA_SAMPLERS, f'{key}_dataloader.sampler', scope)
        _check(cfg.get(f'{key}_evaluator'), METRICS, f'{key}_evaluator', scope)
        _check(cfg.get(f'{key}_cfg'), LOOPS, f'{key}_cfg', scope)
    _check(cfg.get('model'), MODELS, 'model', scope)
    _check_parts(cfg.get('model') or {})
    for name, hook in (cfg.get('default_hooks') or {}).items():
        _check(hook, HOOKS, f'default_hooks.{name}', scope)
    _check(cfg.get('custom_hooks'), HOOKS, 'custom_hooks', scope)
    _check_numbers((cfg.get('optim_wrapper') or {}).get('optimizer') or {})


def _check_parts(model: Mapping) -> None:
    """What parts of ours say of the model around them, such as ``MemoryTracker`` of mmdet's trackers."""
    for part in model.values():
        name = part.get('type') if isinstance(part, Mapping) else None
        if isinstance(name, str) and name.startswith(f'{SCOPE}.'):
            kind = find(name)
            if hasattr(kind, 'check_model'):
                kind.check_model(model)


def _check_numbers(optimizer: dict) -> None:
    """Raise a ValueError where a number is text: YAML reads ``1e-3`` so."""
    for name, value in optimizer.items():
        if isinstance(value, str) and re.fullmatch(r'[-+.\de]*\d[-+.\de]*', value, re.I):
            raise ValueError(
                f"optim_wrapper.optimizer.{name}: expected a number, got the text '{value}'; in YAML write "
                '1.0e-3 for 1e-3'
            )


def _check(node, registry, where: str, scope: str) -> None:
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            _check(item, registry, f'{where}[{index}]', scope)
    elif isinstance(node, dict) and isinstance(node.get('type'), str):
        name = node['type']
        if scope != SCOPE and '.' not in name:
            name = f'{scope}.{name}'
        try:
            check_arguments(find(name, registry), {key: node[key] for key in node if key != 'priority'})
        except (KeyError, TypeError, ValueError) as error:
            raise type(error)(f'{where}: {error.args[0]}') from None
        _check(node.get('dataset'), registry, f'{where}.dataset', scope)
        _check(node.get('datasets'), registry, f'{where}.datasets', scope)
        _check(node.get('pipeline'), TRANSFORMS, f'{where}.pipeline', scope)


def set_max_iters(cfg: Config, iters: int) -> None:
    """Make training longer or shorter, and with it the schedules of the optimizer and of a predictor's
    sampling."""
    scale = iters / cfg.train_cfg.max_iters
    cfg.train_cfg.max_iters = iters
    sampling = (cfg.get('model') or {}).get('sampling') or {}
    for key in {'begin_iter', 'end_iter', 'rate'} & sampling.keys():
        sampling[key] = max(round(sampling[key] * scale), 0 if key == 'begin_iter' else 1)
    for scheduler in cfg.get('param_scheduler') or []:
        for key in {'begin', 'end', 'T_max', 'total_steps'} & scheduler.keys():
            scheduler[key] = max(round(scheduler[key] * scale), 0 if key == 'begin' else 1)
        if 'milestones' in scheduler:
            scheduler['milestones'] = [max(round(step * scale), 1) for step in scheduler['milestones']]


def use_bfloat16(cfg: Config) -> None:
    """Train in mixed precision; a config that says how already (``AmpOptimWrapper``) is left as it is.

    Raises:
        ValueError: The config has an optimizer wrapper of another kind.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'mmstremn.BFloat16OptimWrapper'
    elif kind.split('.')[-1] not in ('AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise ValueError(f"--amp: expected optim_wrapper.type='OptimWrapper', got '{kind}'")


def add_hook(cfg: Config, **hook) -> None:
    """Append a hook to the config's ``custom_hooks``."""
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
