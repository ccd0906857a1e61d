"""Two processes train and test like one."""

import json

import pytest
import torch
from helpers.runs import SMALL_VOS, TINY, largest_difference, run_script, run_tool

ONE_STEP = ['train_cfg.max_iters=1', 'optim_wrapper.optimizer.type=SGD', 'param_scheduler=[]']
NO_VALIDATION = ['val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
CONFIGS = {
    'tiny': (TINY, [*ONE_STEP, *NO_VALIDATION, 'model.dropout=0']),
    'vos': (SMALL_VOS, [*ONE_STEP, 'optim_wrapper.clip_grad=None']),
}


def weights(folder, name='iter_1.pth'):
    return torch.load(folder / name, weights_only=False)['state_dict']


@pytest.mark.parametrize('name', CONFIGS)
def test_two_processes_give_the_gradients_of_one_on_the_union_of_the_batches(name, tmp_path):
    config, options = CONFIGS[name]

    def arguments(folder, lr, batch_size):
        settings = [*options, f'optim_wrapper.optimizer.lr={lr}', f'train_dataloader.batch_size={batch_size}']
        return ['--work-dir', tmp_path / folder, '--cfg-options', *settings]

    assert run_tool('train', [config, *arguments('start', 0.0, 2)]) == 0
    assert run_tool('train', [config, *arguments('one', 1.0, 2)]) == 0
    run_script('dist_train.sh', config, 2, *arguments('two', 1.0, 1))
    start, one, two = (weights(tmp_path / folder) for folder in ('start', 'one', 'two'))
    assert largest_difference(start, one) > 1e-3  # SGD with lr 1: the gradient
    assert largest_difference(two, one) <= 1e-5


@pytest.mark.parametrize(
    'config', [TINY, pytest.param(SMALL_VOS, marks=pytest.mark.slow)], ids=lambda path: path.stem
)
def test_testing_on_two_processes_gives_the_figures_of_one(config, tmp_path):
    options = ['--work-dir', tmp_path]
    assert run_tool('train', [config, *options, '--cfg-options', 'train_cfg.max_iters=6']) == 0
    checkpoint = tmp_path / 'iter_6.pth'
    one, two = tmp_path / 'one.json', tmp_path / 'two.json'
    assert run_tool('test', [config, checkpoint, *options, '--out', one]) == 0
    # 3 videos on 2 processes: mmengine pads with a video that must not be counted twice
    run_script('dist_test.sh', config, checkpoint, 2, *options, '--out', two)
    first, second = (json.loads(path.read_text()) for path in (one, two))
    assert 0 < first['DAVIS/J&F'] < 1
    assert {key: first[key] for key in first if 'fps' not in key} == pytest.approx(
        {key: second[key] for key in second if 'fps' not in key}, abs=1e-6
    )


@pytest.mark.slow
def test_two_processes_resume_with_the_random_state_of_each(tmp_path):
    options = [
        '--cfg-options',
        'randomness.diff_rank_seed=True',
        'default_hooks.checkpoint.max_keep_ckpts=-1',
    ]
    run_script('dist_train.sh', TINY, 2, '--work-dir', tmp_path / 'a', *options)
    resume = ['--resume', tmp_path / 'a/iter_6.pth']
    run_script('dist_train.sh', TINY, 2, '--work-dir', tmp_path / 'b', *resume, *options)
    first, second = (weights(tmp_path / folder, 'iter_12.pth') for folder in 'ab')
    assert largest_difference(first, second) <= 1e-5


def test_a_resume_with_fewer_or_more_processes_says_so(tmp_path):
    options = ['--work-dir', tmp_path]
    run_script('dist_train.sh', TINY, 2, *options, '--cfg-options', 'train_cfg.max_iters=3')
    output = tmp_path / 'output'
    longer = ['--cfg-options', 'train_cfg.max_iters=6']
    assert run_tool('train', [TINY, *options, '--resume', *longer], output=output) == 0
    assert 'the training is resumed with processes=1, not 2: it goes on with' in output.read_text()
    run_script('dist_train.sh', TINY, 2, *options, '--resume')
    log = max(tmp_path.glob('*/*.log'), key=lambda path: path.stat().st_mtime).read_text()
    assert 'the training is resumed with processes=2, not 1: it goes on with' in log
    assert (tmp_path / 'iter_12.pth').is_file()
