"""What will not learn, and what will never happen, is said at the start of a training."""

from types import SimpleNamespace

import pytest
import torch
from helpers.runs import SMALL_VOS, TINY, run_tool
from torch import nn

from mmstremn.engine import LearningCheckHook
from mmstremn.engine.hooks import learning
from mmstremn.memory import GatedLinearMemory


def train(folder, *options, config=TINY) -> tuple[int, str]:
    """The exit code of a training, and what it printed."""
    output = folder / 'output'
    arguments = [config, '--work-dir', folder, '--cfg-options', 'train_cfg.max_iters=5', *options]
    return run_tool('train', arguments, output=output), output.read_text()


def test_an_ordinary_training_has_nothing_to_say(tmp_path):
    code, said = train(tmp_path)
    assert code == 0
    for part in ('gradient', 'learning rate of', 'would begin', 'none is validated'):
        assert part not in said


def test_what_has_no_effect_is_said_with_numbers(tmp_path):
    options = ['optim_wrapper.optimizer.lr=0.', 'optim_wrapper.clip_grad.max_norm=0', 'train_cfg.val_begin=6']
    options += ['param_scheduler.begin=5', 'param_scheduler.end=9']
    code, said = train(tmp_path, *options)
    assert code == 0
    assert '4 of 4 parameters have a learning rate of 0, they do not learn' in said
    assert 'optim_wrapper.clip_grad: max_norm=0 makes every gradient 0' in said
    assert 'train_cfg.val_begin=6: the training has 5 iterations, none is validated' in said
    assert 'param_scheduler PolyLR would begin at iteration 5, the training has 5: it never does' in said


def test_schedules_of_losses_hooks_and_clips_that_begin_too_late_are_named(tmp_path):
    config = tmp_path / 'late.py'
    hooks = "dict(type='GumbelTemperatureHook', begin_iter=8)"
    skips = "dict(type='ClipSkipHook', schedule=[(0, 1), (6, 2)])"
    config.write_text(f"_base_ = '{SMALL_VOS}'\ncustom_hooks = [{hooks}, {skips}]\n")
    code, said = train(tmp_path, 'train_cfg.max_iters=1', config=config)
    assert code == 0
    late = dict(GumbelTemperatureHook=8, BootstrappedCEDiceLoss=20000)
    for name, begin in (late | {'skip 2 of the ClipSkipHook': 6}).items():
        assert f'{name} would begin at iteration {begin}, the training has 1: it never does' in said


def test_parameters_without_a_gradient_are_named(tmp_path):
    code, said = train(tmp_path, 'model.dropout=1.0')  # nothing passes
    assert code == 0
    assert (
        '3 of 4 trainable parameters of TinySegmentor outside its memory got no gradient in the first 3 '
        'backward passes, they do not learn: conv.weight, conv.bias, head.weight. Look at' in said
    )


def test_frozen_norms_that_begin_at_zero_are_seen(tmp_path):
    """A residual backbone without weights, whose frozen norms silence every branch for good."""
    code, said = train(tmp_path, config=SMALL_VOS)
    assert code == 0 and 'key_encoder.backbone.model.layer1.0.conv1.weight' in said
    branches = [f'model.{name}.zero_init_last=False' for name in ('backbone', 'value_backbone')]
    code, said = train(tmp_path, *branches, config=SMALL_VOS)
    assert code == 0 and 'got no gradient' not in said


def test_a_memory_is_left_to_the_model_and_names_are_few():
    model = nn.ModuleDict(
        dict(memory=GatedLinearMemory(4, 4), layers=nn.Sequential(*map(nn.Linear, [2] * 6, [2] * 6)))
    )
    line = learning._without_gradient(model, set(), 3)
    assert line.startswith('12 of 12 trainable parameters') and 'memory.' not in line
    assert line.count('layers.') == 8 and 'layers.3.bias and 4 more' in line
    reached = {name for name, _ in model.named_parameters() if name.startswith('layers.')}
    assert learning._without_gradient(model, reached, 3) == ''


def test_a_model_without_trainable_parameters_is_refused():
    model = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ValueError, match='no parameter of Linear is trainable'):
        LearningCheckHook().before_train(SimpleNamespace(model=model))


def test_a_validation_without_videos_is_refused_before_the_first_iteration(tmp_path):
    code, said = train(tmp_path, 'val_dataloader.dataset.length=0')
    assert code == 1 and 'ValueError: val_dataloader: the data set is empty' in said
    assert not list(tmp_path.glob('iter_*'))


def test_the_hook_stops_watching():
    model = nn.Linear(2, 2)
    warnings, hook = [], LearningCheckHook()
    hook._watch = learning.GradientWatch(model)
    runner = SimpleNamespace(model=model, logger=SimpleNamespace(warning=warnings.append))
    for _ in range(5):
        (0 * model(torch.ones(1, 2))).sum().backward()
        hook.after_train_iter(runner, 0)
    assert len(warnings) == 1 and '2 of 2 trainable parameters of Linear' in warnings[0]
    assert not model.weight._post_accumulate_grad_hooks
