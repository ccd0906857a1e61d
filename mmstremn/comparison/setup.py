"""The setup of a comparison: what all its rows share, and the base config whose memory they replace."""

import hashlib
import json
import re
from pathlib import Path

from mmengine.config import Config, ConfigDict

from mmstremn.checkpoints.matching import has_own_weights
from mmstremn.checkpoints.reading import check_checkpoint_file
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.scores import SCORES
from mmstremn.engine.launch import load_config
from mmstremn.utils.shipped_files import find_weights

SETUP = ('config', 'cfg_options', 'iters', 'train', 'weights', 'weights_sha256', 'allow_missing')


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
        ValueError: A file is no checkpoint, the options set the memory, or a model that names its own weights
            is to be trained or given others.
    """
    of_memory = [key for key in cfg_options if key == 'model.memory' or key.startswith('model.memory.')]
    if of_memory:
        raise ValueError(
            f'--cfg-options {of_memory[0]}: the memories are those of the memory file, change them there'
        )
    base = load_base(config, cfg_options)
    own = has_own_weights(base.model)
    if own and (start or checkpoint or iters):
        raise ValueError(
            f'{config}: its model names its own weights and is not trained here: leave --start, --checkpoint '
            'and --iters out; --cfg-options model.checkpoint=FOLDER takes other weights'
        )
    train = checkpoint is None and not own
    weights = None if own else checkpoint or start or base.get('load_from')
    digest = own_weights_sha256(base.model) if own else None
    if weights:
        weights = find_weights(weights)
        check_checkpoint_file(weights)
        if '://' in weights:
            raise ValueError(f'checkpoint {weights}: expected a local file, whose hash can be recorded')
        digest = file_sha256(weights)
    values = (config, cfg_options, iters, train, weights, digest, allow_missing)
    return json.loads(json.dumps(dict(zip(SETUP, values, strict=True))))


def own_weights_sha256(model: dict) -> str | None:
    """SHA-256 of the weights in the folder that a model's config names; None of a name on the hub and of
    random weights."""
    if not model.get('checkpoint'):
        return None
    files = sorted(Path(model['checkpoint']).glob('*.safetensors'))
    return hashlib.sha256(''.join(map(file_sha256, files)).encode()).hexdigest() if files else None


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
    """The name and the config of the metric whose scores are compared.

    Raises:
        ValueError: There is none, or it leaves out the score that decides the order.
    """
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        name = metric_name(evaluator.get('type'))
        if name in SCORES:
            main = SCORES[name].main
            if main not in evaluator.get('measures', [main]):
                raise ValueError(
                    f'{cfg.filename}: expected {main} among test_evaluator.measures, rows are ordered by it'
                )
            return name, evaluator
    raise ValueError(f'{cfg.filename}: expected a {" or ".join(SCORES)} as test_evaluator')


def metric_name(cls: str | type) -> str:
    """The name of a class, of its path or of it with a scope."""
    return re.split(r'[.:/]', getattr(cls, '__name__', str(cls)))[-1]
