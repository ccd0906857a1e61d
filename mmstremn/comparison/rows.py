"""The rows of a comparison: a config and a job for every memory and seed, in a folder each.

``config.py`` is the whole config, ``job.json`` says what is done with it; both are complete without the base
config.
"""

import copy
import hashlib
import inspect
import json
import math
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from mmstremn.checkpoints.reading import check_checkpoint_file
from mmstremn.comparison.figures import FIGURES
from mmstremn.engine.launch import load_config, set_max_iters
from mmstremn.registry import DATASETS, find
from mmstremn.utils.atomic import write_json

MEMORY_FILE = FIGURES['DAVISMetric'].memory_file
SAVES = 20  # checkpoints of a training: an interruption costs a twentieth at most
UNHASHED = (
    'filename',
    'work_dir',
    'load_from',
    'resume',
    'experiment_name',
)  # where things are, not what they are
SETUP = ('config', 'cfg_options', 'iters', 'train', 'weights', 'weights_sha256', 'allow_missing')


class Row(NamedTuple):
    """A memory with a seed.

    Attributes:
        folder: ``OUT/rows/MEMORY/seed_SEED``.
        cfg: The whole config.
        job: What ``job.json`` holds.
    """

    folder: Path
    cfg: Config
    job: dict

    @property
    def name(self) -> str:
        return f'{self.job["memory"]}, seed {self.job["seed"]}'


def load_memories(path: str) -> dict[str, dict]:
    """The dict ``memories`` of a text config: the config of ``model.memory`` by name, or of several parts of
    the model.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no ``memories``, or one that is no config of a memory or cannot name a folder.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'memory file {path}: no such file')
    memories = Config.fromfile(path).get('memories')
    if not isinstance(memories, dict) or not memories:
        raise ValueError(f'memory file {path}: expected a dict `memories` of name -> config of model.memory')
    for name, entry in memories.items():
        if not re.fullmatch(r'\w[\w.+-]*', name):
            raise ValueError(f"memory file {path}: '{name}': expected a name of letters, digits and _.+-")
        if 'type' not in (entry if 'type' in entry else entry.get('memory') or {}):
            raise ValueError(
                f"memory file {path}: '{name}': expected a dict with `type`, or with `memory` that has one"
            )
    return {name: entry.to_dict() for name, entry in memories.items()}


def choose(memories: dict[str, dict], names: list[str]) -> dict[str, dict]:
    """The memories of these names, in this order; ``['all']`` gives all.

    Raises:
        KeyError: A name is not there; the message names those that are.
    """
    if names == ['all']:
        return memories
    for name in names:
        if name not in memories:
            raise KeyError(f"--memories: '{name}' is unknown; there are: {', '.join(memories)}")
    return {name: memories[name] for name in names}


def make_setup(
    config: str,
    cfg_options: dict,
    iters: int | None = None,
    start: str | None = None,
    checkpoint: str | None = None,
    allow_missing: bool = False,
) -> dict:
    """What all rows of a comparison share, as JSON can hold it.

    Args:
        config: Path of the base config.
        cfg_options: Changes of it.
        iters: Length of the training, None for the config's.
        start: Checkpoint that training starts from, None for the config's ``load_from``.
        checkpoint: Checkpoint that is tested without training, or None.
        allow_missing: A ``checkpoint`` may lack parameters.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is no checkpoint, or the options set the memory.
    """
    of_memory = [key for key in cfg_options if key == 'model.memory' or key.startswith('model.memory.')]
    if of_memory:
        raise ValueError(
            f'--cfg-options {of_memory[0]}: the memories are those of the memory file, change them there'
        )
    train = checkpoint is None
    weights = checkpoint or start or load_base(config, cfg_options).get('load_from')
    digest = None
    if weights:
        check_checkpoint_file(weights)
        if '://' in weights:
            raise ValueError(f'checkpoint {weights}: expected a local file, whose hash can be recorded')
        digest = file_sha256(weights)
    values = (config, cfg_options, iters, train, weights, digest, allow_missing)
    return json.loads(json.dumps(dict(zip(SETUP, values, strict=True))))


def load_base(config: str, cfg_options: dict) -> Config:
    """The base config without validation: rows are tested once, after training.

    Raises:
        ValueError: It has no ``model.memory``, or its test measures nothing that is compared.
    """
    options = dict(cfg_options) | {f'val_{part}': None for part in ('cfg', 'dataloader', 'evaluator')}
    options['env_cfg.cudnn_benchmark'] = False
    cfg = load_config(config, options)
    if 'type' not in ((cfg.get('model') or {}).get('memory') or {}):
        raise ValueError(
            f'{config}: expected a config with model.memory, whose place the compared memories take'
        )
    compared_metric(cfg)
    return cfg


def compared_metric(cfg: Config) -> tuple[str, ConfigDict]:
    """The name and the config of the metric whose figures are compared.

    Raises:
        ValueError: There is none, or it leaves out the figure that decides the order.
    """
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        name = metric_name(evaluator.get('type'))
        if name in FIGURES:
            main = FIGURES[name].main
            if main not in evaluator.get('measures', [main]):
                raise ValueError(
                    f'{cfg.filename}: expected {main} among test_evaluator.measures, rows are ordered by it'
                )
            return name, evaluator
    raise ValueError(f'{cfg.filename}: expected a {" or ".join(FIGURES)} as test_evaluator')


def metric_name(cls: str | type) -> str:
    """The name of a class, of its path or of it with a scope."""
    return re.split(r'[.:/]', getattr(cls, '__name__', str(cls)))[-1]


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
        old, row = json.loads(path.read_text()), rows.get(path.parent)
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
    """Put a memory in the place of the config's, and what else the entry says."""
    entry = copy.deepcopy(entry)
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


def file_sha256(path: str | Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def write_row(row: Row) -> None:
    """Write ``config.py`` and, last, ``job.json``, unless they are there (the command of the first run is
    kept)."""
    if (row.folder / 'job.json').is_file():
        return
    row.folder.mkdir(parents=True, exist_ok=True)
    row.cfg.dump(str(row.folder / 'config.py'))
    write_json(row.folder / 'job.json', row.job)


def read_rows(out: Path) -> list[dict]:
    """What ``row.json`` of every finished row in a folder holds."""
    return [json.loads(path.read_text()) for path in sorted(out.glob('rows/*/seed_*/row.json'))]
