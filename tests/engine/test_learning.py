"""What will not learn, and what will never happen, is said at the start of a training."""

from types import SimpleNamespace

import pytest
import torch
from helpers.runs import SMALL_VOS, TINY, run_tool
from torch import nn

from mmstremn.engine import LearningCheckHook
from mmstremn.engine.hooks import learning
from mmstremn.engine.launch import load_config
from mmstremn.memory import GatedLinearMemory
from mmstremn.registry import MODELS


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


def test_frozen_parameters_are_counted_in_one_line(tmp_path):
    """mmengine warns of each one; a loss in which all pixels count throughout has no schedule to warn of."""
    cfg = load_config(str(SMALL_VOS), {'model.frozen': ('memory.selector', 'decoder.predict')})
    model = MODELS.build(cfg.model)
    options = ["model.frozen=('memory.selector','decoder.predict')", 'model.loss.top_share=1.0']
    options += ['model.loss.type=BootstrappedCEDiceLoss', 'train_cfg.max_iters=1']
    code, said = train(tmp_path, *options, config=SMALL_VOS)
    assert code == 0
    assert 'is skipped since' not in said and 'would begin' not in said
    (line,) = (line for line in said.splitlines() if 'parameters are frozen' in line)
    parameters = [*model.parameters()]
    frozen = sum(not parameter.requires_grad for parameter in parameters)
    assert f' {frozen} of {len(parameters)} parameters are frozen: ' in line
    for part in ('memory.selector', 'decoder.predict'):
        assert f'{len([*model.get_submodule(part).parameters()])} of {part}' in line


def test_schedules_and_checkpoints_in_epochs_are_named(tmp_path):
    """mmengine's default counts epochs, which a loop of iterations has none of."""
    code, said = train(tmp_path, 'param_scheduler.by_epoch=True', 'default_hooks.checkpoint.by_epoch=True')
    assert code == 0
    assert 'param_scheduler PolyLR counts epochs, the training counts iterations: it never steps' in said
    assert 'AtomicCheckpointHook counts epochs, the training counts iterations: nothing is saved' in said


def test_a_learning_rate_that_a_schedule_brings_to_0_is_said_once(tmp_path):
    code, said = train(tmp_path, 'param_scheduler.end=3', 'train_cfg.max_iters=7')
    assert code == 0
    line = 'the learning rate is 0 after iteration 2, the training has 7: nothing learns any more'
    assert said.count(line) == 1


def test_a_warm_up_behind_the_end_and_unknown_parts_are_named(tmp_path):
    options = ['param_scheduler.type=LinearLR', 'param_scheduler.start_factor=0.1', 'param_scheduler.end=500']
    options += ['optim_wrapper.paramwise_cfg.custom_keys.conv.lr_mult=2']
    options += ['optim_wrapper.paramwise_cfg.custom_keys.memory.lr_mult=2', 'param_scheduler._delete_=True']
    code, said = train(tmp_path, *options, 'param_scheduler.by_epoch=False')
    assert code == 0
    assert 'param_scheduler LinearLR ends after iteration 499, the training has 5: set its end' in said
    assert "optim_wrapper.paramwise_cfg.custom_keys: 'memory' is in the name of no parameter" in said
    assert "custom_keys: 'conv'" not in said


def test_trainings_that_cannot_be_are_refused(tmp_path):
    code, said = train(tmp_path, 'train_cfg.max_iters=0')
    assert code == 1 and 'train_cfg: expected at least one iteration, got 0' in said
    config = tmp_path / 'epochs.py'
    config.write_text(
        f"_base_ = '{TINY}'\ntrain_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)\n"
    )
    output = tmp_path / 'output'
    assert run_tool('train', [config, '--work-dir', tmp_path], output=output) == 1
    assert 'with the endless IterationSampler none ends' in output.read_text()
    config = tmp_path / 'text.yaml'  # in YAML 1e-3 is text
    config.write_text(f'_base_: {TINY}\noptim_wrapper:\n  optimizer:\n    lr: 1e-3\n')
    code, said = train(tmp_path, config=config)
    assert code == 1
    assert "optim_wrapper.optimizer.lr: expected a number, got the text '1e-3'; in YAML write 1.0e-3" in said


def test_clips_of_one_frame_are_refused(tmp_path):
    code, said = train(tmp_path, 'train_dataloader.dataset.clip_length=1', config=SMALL_VOS)
    assert code == 1 and 'expected clips of at least 2 frames, got 1: set clip_length' in said


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
    runner = SimpleNamespace(model=model, optim_wrapper=None, logger=SimpleNamespace(warning=warnings.append))
    for _ in range(5):
        (0 * model(torch.ones(1, 2))).sum().backward()
        hook.after_train_iter(runner, 0)
    assert len(warnings) == 1 and '2 of 2 trainable parameters of Linear' in warnings[0]
    assert not model.weight._post_accumulate_grad_hooks
