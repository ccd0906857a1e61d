"""The plan of a comparison: its rows, a config and a job for every memory and seed, in a folder each."""

import copy
import hashlib
import inspect
import json
import math
import shutil
from pathlib import Path

from mmengine.config import Config, ConfigDict

from mmstremn.comparison.row_files import Row, write_row
from mmstremn.comparison.setup import SETUP, load_base
from mmstremn.engine.launch import set_max_iters
from mmstremn.registry import DATASETS, find

SAVES = 20  # checkpoints of a training: an interruption costs a twentieth at most
UNHASHED = (
    'filename',
    'work_dir',
    'load_from',
    'resume',
    'experiment_name',
)  # where things are, not what they are


def plan(
    setup: dict, memories: dict[str, dict], seeds: list[int], out: Path, command: str, overwrite: bool = False
) -> list[Row]:
    """The rows of a comparison; their folders are made, or found as they were left.

    Args:
        setup: Of :func:`make_setup`.
        memories: Entries of the memory file by name.
        seeds: Of weights, clips and noise.
        out: Folder of the comparison.
        command: Recorded with the rows.
        overwrite: Remove rows that were made with another config.

    Raises:
        ValueError: Without ``overwrite``, a row in ``out`` was made with another config, start or data; or,
            in any case, a row that is not asked for was, so it does not belong into the same table.
    """
    rows = {}
    for name, entry in memories.items():
        for seed in seeds:
            row = make_row(setup, name, entry, seed, out, command)
            rows[row.folder] = row
    changed = set()
    for path in sorted(out.glob('rows/*/seed_*/job.json')):
        old, row = json.loads(path.read_text('utf-8')), rows.get(path.parent)
        key = 'budget' if row is None else 'fingerprint'
        new = (row or next(iter(rows.values()))).job
        if old[key] == new[key]:
            continue
        if row is None or not overwrite:
            hint = '--overwrite runs it again' if row else 'its table would not compare equals'
            raise ValueError(
                f'{path.parent}: made with another {difference(old, new, row)}: take another --out, or {hint}'
            )
        changed.add(path.parent)
    for folder, row in rows.items():
        if folder in changed:
            shutil.rmtree(folder)
        write_row(row)
    return list(rows.values())


def difference(old: dict, new: dict, row: Row | None) -> str:
    """What differs between two jobs, with both values where they are short."""
    keys = ['data', *(['memory_config'] if row else [])]
    names = [key for key in keys if old[key] != new[key]]
    names += [
        f'{key} ({old["setup"][key]}, now {new["setup"][key]})'
        for key in SETUP
        if old['setup'][key] != new['setup'][key]
    ]
    return ', '.join(names) or 'content of the config file'


def make_row(setup: dict, name: str, entry: dict, seed: int, out: Path, command: str) -> Row:
    """The row of a memory and a seed; nothing is written.

    Raises:
        ValueError: Training has no number of iterations.
    """
    folder = out / 'rows' / name / f'seed_{seed}'
    cfg = load_base(setup['config'], setup['cfg_options'])
    cfg.load_from, cfg.work_dir, cfg.experiment_name = (
        setup['weights'],
        str(folder / 'train'),
        f'{name}_seed_{seed}',
    )
    cfg.resume = False
    if setup['train']:
        prepare_training(cfg, setup)
    data = {part: data_version(cfg, part) for part in (('train', 'test') if setup['train'] else ('test',))}
    about = [setup['train'], setup['weights_sha256'], setup['allow_missing'], data]
    budget = digest(without_memory(cfg), about)
    set_memory(cfg, entry)
    cfg.setdefault('randomness', ConfigDict())
    cfg.randomness.seed = seed
    job = dict(memory=name, seed=seed, memory_config=entry, setup=setup, data=data, command=command)
    job |= dict(budget=budget, fingerprint=digest(cfg.to_dict(), about))
    return Row(folder, cfg, json.loads(json.dumps(job)))


def prepare_training(cfg: Config, setup: dict) -> None:
    """Set the length of the training, and checkpoints so often that little is lost."""
    if not (cfg.get('train_cfg') or {}).get('max_iters'):
        raise ValueError(
            f'{setup["config"]}: expected train_cfg.max_iters, to train every memory for as long'
        )
    if setup['iters'] is not None:
        set_max_iters(cfg, setup['iters'])
    interval = math.ceil(cfg.train_cfg.max_iters / SAVES)
    checkpoint = dict(type='AtomicCheckpointHook', by_epoch=False, interval=interval, max_keep_ckpts=1)
    cfg.setdefault('default_hooks', ConfigDict())
    cfg.default_hooks.checkpoint = checkpoint


def set_memory(cfg: Config, entry: dict) -> None:
    """Put a memory in the place of the config's, and what else the entry says; or a whole model."""
    entry = copy.deepcopy(entry)
    if 'model' in entry:
        cfg.model = ConfigDict(entry['model'])
        return
    memory, others = (entry, {}) if 'type' in entry else (entry.pop('memory'), entry)
    memory.pop('_delete_', None)
    cfg.model.memory = ConfigDict(memory)
    cfg.merge_from_dict({'model': others})


def without_memory(cfg: Config) -> dict:
    """What is the same in all rows of a comparison."""
    values = cfg.to_dict()
    values['model'].pop('memory')
    values.pop('randomness', None)
    return values


def digest(config: dict, about: list) -> str:
    """SHA-256 of a config, wherever it and its checkpoints stand, and of what else decides the result."""
    config = {key: value for key, value in config.items() if key not in UNHASHED}
    return hashlib.sha256(json.dumps([config, about], sort_keys=True, default=str).encode()).hexdigest()


def data_version(cfg: Config, part: str) -> str:
    """What a data set is made of: a hash of names and sizes of its files, or the version of the recipe that
    makes it."""
    dataset = (cfg.get(f'{part}_dataloader') or {}).get('dataset') or {}
    if dataset.get('data_root'):
        root = Path(dataset.data_root)
        files = sorted(
            (str(path.relative_to(root)), path.stat().st_size) for path in root.rglob('*') if path.is_file()
        )
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()
    parameter = inspect.signature(find(dataset.type, DATASETS)).parameters.get('version')
    return f'{dataset.type} {dataset.get("version", getattr(parameter, "default", ""))}'.strip()
