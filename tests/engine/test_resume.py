"""A run that is killed at any moment and resumed ends with the weights of the uninterrupted run."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.runs import SMALL_VOS, TINY, largest_difference, run_tool

from mmstremn.engine.random_state import get_random_state, set_random_state
from mmstremn.utils.atomic import AtomicLocalBackend, write_atomically

SIGKILLED = -9
LAST = 'iter_12.pth'


def train(folder: Path, *args, **kwargs) -> int:
    return run_tool('train', [TINY, '--work-dir', folder, *args], **kwargs)


def final_state(folder: Path, name: str = LAST) -> dict:
    """Weights and optimizer state at the end, as one flat dictionary."""
    checkpoint = torch.load(folder / name, weights_only=False)
    momenta = checkpoint['optimizer']['state']
    return checkpoint['state_dict'] | {
        f'{i}.{k}': v for i, state in momenta.items() for k, v in state.items()
    }


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp('uninterrupted')
    assert train(folder) == 0
    assert sorted(path.name for path in folder.glob('iter_*')) == [LAST]
    assert len(list(folder.glob('best_*'))) == 1
    return final_state(folder)


KILLS = [
    *[('iteration', str(iteration)) for iteration in random.Random(0).sample(range(12), 3)],
    ('half written', 'iter_3.pth'),
    ('half written', 'iter_6.pth'),
    ('before rename', 'iter_6.pth'),
    ('after rename', 'iter_6.pth'),
    ('half written', 'last_checkpoint'),
    ('before removal', 'iter_3.pth'),
    ('half written', 'best_DAVIS_J&F_iter_10.pth'),
    ('before removal', 'best_DAVIS_J&F_iter_5.pth'),
    ('iteration', '10'),  # the last checkpoint is the one saved again after validation
]


@pytest.mark.parametrize('kill', KILLS, ids=' '.join)
def test_killed_and_resumed_run_ends_like_the_uninterrupted_one(kill, tmp_path, uninterrupted):
    assert train(tmp_path, kill=kill) == SIGKILLED
    assert train(tmp_path, '--resume') == 0
    assert largest_difference(final_state(tmp_path), uninterrupted) <= 1e-5
    leftovers = [
        path.name for path in tmp_path.iterdir() if path.name.startswith('iter_') or 'partial' in path.name
    ]
    assert leftovers == [LAST]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / LAST)


@pytest.mark.slow
@pytest.mark.parametrize('iteration', range(12))
def test_kill_at_every_iteration(iteration, tmp_path, uninterrupted):
    test_killed_and_resumed_run_ends_like_the_uninterrupted_one(
        ('iteration', str(iteration)), tmp_path, uninterrupted
    )


def test_killed_training_of_the_real_model_ends_like_the_uninterrupted_one(tmp_path):
    def train_vos(name, *args, **kwargs):
        return run_tool('train', [SMALL_VOS, '--work-dir', tmp_path / name, *args], **kwargs)

    assert train_vos('whole') == 0
    assert train_vos('killed', kill=('iteration', '3')) == SIGKILLED
    assert train_vos('killed', '--resume', kill=('half written', 'iter_4.pth')) == SIGKILLED
    assert train_vos('killed', '--resume') == 0
    whole, killed = (final_state(tmp_path / name, 'iter_6.pth') for name in ('whole', 'killed'))
    assert largest_difference(whole, killed) <= 1e-5


def test_killed_many_times_with_worker_processes(tmp_path, uninterrupted):
    options = ['--resume', '--cfg-options', 'train_dataloader.num_workers=2']
    for iteration in (4, 7, 10):
        assert train(tmp_path, *options, kill=('iteration', str(iteration))) == SIGKILLED
    assert train(tmp_path, *options) == 0
    assert largest_difference(final_state(tmp_path), uninterrupted) <= 1e-5


def test_run_without_a_configured_seed_is_resumed_with_the_one_it_drew(tmp_path):
    seedless = ['--cfg-options', 'randomness.seed=None', 'default_hooks.checkpoint.max_keep_ckpts=-1']
    assert train(tmp_path, *seedless) == 0
    complete = final_state(tmp_path)
    assert train(tmp_path, '--resume', tmp_path / 'iter_6.pth', *seedless) == 0
    assert largest_difference(final_state(tmp_path), complete) <= 1e-5


def test_control_without_the_random_state_the_weights_differ(tmp_path, uninterrupted):
    assert train(tmp_path, kill=('iteration', '8')) == SIGKILLED
    assert train(tmp_path, '--resume', frozen_random=True) == 0
    assert largest_difference(final_state(tmp_path), uninterrupted) > 1e-3


def test_validation_that_was_due_is_made_up_for(tmp_path):
    options = ['--cfg-options', 'default_hooks.checkpoint.interval=5']
    assert train(tmp_path, *options, kill=('half written', 'best_DAVIS_J&F_iter_5.pth')) == SIGKILLED
    assert not list(tmp_path.glob('best_*.pth'))
    assert train(tmp_path, '--resume', *options, kill=('iteration', '6')) == SIGKILLED
    assert [path.name for path in tmp_path.glob('best_*.pth')] == ['best_DAVIS_J&F_iter_5.pth']


def test_published_checkpoint_is_named_by_its_hash_and_can_be_loaded_from(tmp_path):
    publish = "default_hooks.checkpoint.published_keys=['meta','state_dict']"
    assert train(tmp_path, '--cfg-options', publish) == 0
    published = next(tmp_path.glob('iter_12-*.pth'))
    assert sorted(torch.load(published, weights_only=True)) == ['meta', 'state_dict']
    assert train(tmp_path / 'second', '--cfg-options', f'load_from={published}', 'train_cfg.max_iters=3') == 0


def test_atomic_write_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    write_atomically(path, b'old')

    def full(handle):
        raise OSError('no space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='no space'):
        AtomicLocalBackend().put(b'new', path)
    assert path.read_bytes() == b'old'


def test_random_state_covers_python_numpy_and_torch(tmp_path):
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(())), float(np.random.randn())

    np.random.randn()  # leaves a cached gaussian
    torch.save(get_random_state(), tmp_path / 'state')
    expected = draw()
    set_random_state(torch.load(tmp_path / 'state', weights_only=True))
    assert draw() == expected
