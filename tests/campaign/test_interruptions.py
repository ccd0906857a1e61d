"""Trainings that are stopped by a signal, by Ctrl-C or by a full disk go on to the weights of the
uninterrupted run."""

import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from helpers.runs import TINY, largest_difference, run_tool

LAST = 'iter_12.pth'
EVERY = [(name, str(iteration)) for name in ('SIGTERM', 'SIGINT') for iteration in range(12)]
SOME = random.Random(0).sample(EVERY, 4)


def train(folder: Path, *args, **kwargs) -> int:
    return run_tool('train', [TINY, '--work-dir', folder, *args], **kwargs)


def weights(folder: Path) -> dict:
    return torch.load(folder / LAST, weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp('uninterrupted')
    assert train(folder) == 0
    return weights(folder)


@pytest.mark.parametrize('stop', SOME, ids=' '.join)
def test_a_stopped_run_goes_on(stop, tmp_path, uninterrupted):
    name, _ = stop
    code = train(tmp_path, kill=stop)
    assert code == -signal.SIGTERM if name == 'SIGTERM' else code != 0
    assert train(tmp_path, '--resume') == 0
    assert largest_difference(weights(tmp_path), uninterrupted) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize('stop', [stop for stop in EVERY if stop not in SOME], ids=' '.join)
def test_a_run_stopped_at_any_iteration_goes_on(stop, tmp_path, uninterrupted):
    test_a_stopped_run_goes_on(stop, tmp_path, uninterrupted)


@pytest.mark.parametrize('bytes_that_fit', [0, 1000, 20_000])
def test_a_full_disk_ends_the_run_and_keeps_what_was_written(bytes_that_fit, tmp_path, uninterrupted):
    assert train(tmp_path, kill=('iteration', '7')) == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in tmp_path.glob('iter_*')}
    assert before
    assert train(tmp_path, '--resume', kill=('disk full', str(bytes_that_fit))) != 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob('iter_*.pth')} == before
    assert train(tmp_path, '--resume') == 0
    assert largest_difference(weights(tmp_path), uninterrupted) <= 1e-5


def test_a_resume_with_another_config_is_right_or_refused(tmp_path, uninterrupted):
    """Another optimizer or model is refused before a step, another learning rate is said to be without
    effect; a training that is to be shorter is complete."""
    assert train(tmp_path, kill=('iteration', '7')) == -signal.SIGKILL
    before, log = {path.name for path in tmp_path.glob('iter_*')}, tmp_path / 'output'
    options = ['--resume', '--cfg-options']
    assert train(tmp_path, *options, 'optim_wrapper.optimizer.type=SGD', output=log) == 1
    assert 'iter_6.pth: cannot be resumed by SGD' in log.read_text() and 'amsgrad, betas' in log.read_text()
    assert {path.name for path in tmp_path.glob('iter_*')} == before
    assert train(tmp_path, *options, 'model.width=8', output=log) == 1
    assert 'iter_6.pth: the checkpoint does not fit TinySegmentor' in log.read_text()
    assert (
        train(tmp_path, *options, 'train_cfg.max_iters=6', 'optim_wrapper.optimizer.lr=.5', output=log) == 0
    )
    assert 'iter_6.pth: resumed with its lr=0.1, not 0.5 of the config' in log.read_text()
    assert {path.name for path in tmp_path.glob('iter_*')} == before
    assert train(tmp_path, '--resume') == 0
    assert largest_difference(weights(tmp_path), uninterrupted) <= 1e-5


def test_a_resume_with_other_data_or_batches_goes_on_and_says_so(tmp_path, uninterrupted):
    """With the seed of the checkpoint; another number of processes is in tests/engine/test_ddp.py."""
    assert train(tmp_path, kill=('iteration', '7')) == -signal.SIGKILL
    log, copy = tmp_path / 'output', tmp_path / 'copy'
    shutil.copytree(tmp_path, copy)
    changes = ['train_dataloader.batch_size=3', 'train_dataloader.dataset.length=4', 'randomness.seed=7']
    assert train(tmp_path, '--resume', '--cfg-options', *changes, output=log) == 0
    said = log.read_text()
    for part in (
        'train_dataloader.batch_size=3, not 2; ',
        "train_dataloader.dataset.length=4, not 'nothing'; ",
        'videos or images to train on=4, not 5: it goes on with these',
        'resumed with its seed 0, not 7 of the config',
    ):
        assert part in said
    assert largest_difference(weights(tmp_path), uninterrupted) > 1e-3
    assert train(copy, '--resume', '--cfg-options', 'randomness.seed=7', output=log) == 0
    assert 'it goes on with these' not in log.read_text()
    assert largest_difference(weights(copy), uninterrupted) <= 1e-5
