"""Train or test one row of a comparison: ``python -m mmstremn.comparison.run_row train|test FOLDER``.

The process writes a byte to its output after every iteration; all else goes to where its errors go.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmstremn.checkpoints.matching import checkpoint_weights, fitting_weights, without_backbone_weights
from mmstremn.comparison.row_files import file_sha256
from mmstremn.comparison.scores import SCORES
from mmstremn.comparison.setup import compared_metric
from mmstremn.engine.launch import build_runner, latest_checkpoint
from mmstremn.engine.progress import ProgressHook
from mmstremn.utils.atomic import write_json
from mmstremn.utils.timing import peak_resident_bytes

PACKAGES = ('mmstremn', 'torch', 'torchvision', 'timm', 'mmengine', 'numpy')


class MatchHook(Hook):
    """Record the parameters that a checkpoint lacks, or has in another shape; what it has beyond the model is
    left alone.

    Args:
        allow_missing: Go on with random ones, unless the checkpoint has none at all.

    Raises:
        RuntimeError: Parameters are missing.
    """

    def __init__(self, allow_missing: bool):
        self.allow_missing = allow_missing

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        _, missing = fitting_weights(checkpoint_weights(checkpoint), runner.model, self.allow_missing)
        runner.message_hub.update_info('missing_keys', missing)


class ClockHook(Hook):
    """Keep the seconds of training in the checkpoints, so that they count on in a resumed run."""

    def before_train(self, runner) -> None:
        self.before = runner.message_hub.runtime_info.get('training_seconds', 0.0)
        self.begin = time.perf_counter()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        runner.message_hub.update_info('training_seconds', self.before + time.perf_counter() - self.begin)


class StreamSeedHook(Hook):
    """Let memories that draw at random do so by the row's seed in testing too."""

    def __init__(self, seed: int):
        self.seed = seed

    def before_test_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        for sample in data_batch['data_samples']:
            sample.set_metainfo(dict(sample_seed=self.seed))


def main(argv: list[str] | None = None) -> None:
    phase, folder = sys.argv[1:] if argv is None else argv
    steps = os.fdopen(os.dup(1), 'wb', buffering=0)
    os.dup2(2, 1)
    PHASES[phase](Path(folder), lambda number: steps.write(b'.' * number))


def train(folder: Path, report: Callable[[int], object]) -> None:
    """Train, from the last checkpoint if there is one, and write ``trained.json``."""
    cfg = Config.fromfile(folder / 'config.py')
    cfg.work_dir = str(folder / 'train')
    last = latest_checkpoint(cfg.work_dir)
    if last:
        cfg.resume, cfg.load_from = True, last
    runner = build_runner(cfg)
    for hook in (ProgressHook(report), ClockHook()):
        runner.register_hook(hook)
    if not last:
        runner.register_hook(MatchHook(allow_missing=True))
    runner.train()
    checkpoint = Path(latest_checkpoint(cfg.work_dir))
    info = runner.message_hub.runtime_info
    trained = dict(checkpoint=str(checkpoint.relative_to(folder)), iterations=runner.iter)
    trained |= dict(seconds=info['training_seconds'], missing_keys=info.get('missing_keys', []))
    write_json(folder / 'trained.json', trained)


def test(folder: Path, report: Callable[[int], object]) -> None:
    """Test what was trained, or the checkpoint, and write ``row.json``."""
    job, cfg = json.loads((folder / 'job.json').read_text('utf-8')), Config.fromfile(folder / 'config.py')
    setup, trained = job['setup'], {}
    if setup['train']:
        trained = json.loads((folder / 'trained.json').read_text('utf-8'))
        cfg.load_from = str(folder / trained['checkpoint'])
    cfg.work_dir, cfg.resume = str(folder / 'test'), False
    cfg.model = without_backbone_weights(cfg.model)
    metric, evaluator = compared_metric(cfg)
    evaluator.out_file = str(folder / 'scores.json')
    runner = build_runner(cfg)
    for hook in (
        ProgressHook(report),
        StreamSeedHook(job['seed']),
        MatchHook(setup['allow_missing'] and not trained),
    ):
        runner.register_hook(hook)
    runner.test()
    missing = trained.get('missing_keys', runner.message_hub.runtime_info.get('missing_keys', []))
    row = job | dict(
        metric=metric,
        **SCORES[metric].read(json.loads((folder / 'scores.json').read_text('utf-8'))),
        **peak_memory(),
        training_seconds=round(trained.get('seconds', 0.0), 1),
        iterations=trained.get('iterations', 0),
        missing_keys=missing,
        checkpoint=str(cfg.load_from or cfg.model.get('checkpoint')),
        checkpoint_sha256=file_sha256(cfg.load_from) if cfg.load_from else setup['weights_sha256'],
        config=str(folder / 'config.py'),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {platform.machine()}',
        threads=torch.get_num_threads(),
        versions=dict(python=platform.python_version())
        | {name: import_module(name).__version__ for name in PACKAGES},
        time=datetime.now(UTC).isoformat(timespec='seconds'),
    )
    write_json(folder / 'row.json', row)


def peak_memory() -> dict:
    """MiB allocated on the GPU, or held by this process."""
    if torch.cuda.is_available():
        of, peak = 'GPU', torch.cuda.max_memory_allocated()
    else:
        of, peak = 'process', peak_resident_bytes()
    return dict(peak_memory_mib=round(peak / 2**20, 1), peak_memory_of=f'{of}, in testing')


PHASES = {'train': train, 'test': test}

if __name__ == '__main__':
    main()
