"""Say at the start of a training what in it will not learn, or will never happen."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from mmengine.dataset import InfiniteSampler
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import ConstantParamScheduler, LinearParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from mmstremn.datasets.samplers import IterationSampler
from mmstremn.memory import Memory
from mmstremn.models.gradient_watch import GradientWatch
from mmstremn.registry import HOOKS

WATCHED_PASSES = 3  # by then a gradient is past what begins at zero
MOST_NAMES = 8
STILL = 2  # iterations


@HOOKS.register_module()
class LearningCheckHook(Hook):
    """Warns of parameters that do not learn, and of what would begin after the end of the training;
    ``tools/train.py`` adds it.

    Before the first iteration: learning rates of 0, gradients that are clipped to 0, ``custom_keys`` of no
    parameter, schedules, averages and validations that would begin too late, warm-ups that would end too
    late, and what counts epochs where there are none. Frozen parameters are counted. After three backward
    passes: parameters that got no gradient. Those of a memory are left to the model, which knows the reason
    (``rollout.finish_clip``).
    Later: a learning rate that a schedule has brought to 0.

    Raises:
        ValueError: No parameter is trainable, there are no iterations or epochs that never end, or the data
            set of the validation is empty.
    """

    def __init__(self):
        self._watch: GradientWatch | None = None
        self._still = 0

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f'no parameter of {type(model).__name__} is trainable: expected some with requires_grad'
            )
        if runner.max_iters < 1:
            raise ValueError(f'train_cfg: expected at least one iteration, got {runner.max_iters}')
        _check_epochs(runner.train_loop)
        if runner.val_loop is not None and not len(runner.val_loop.dataloader.dataset):
            raise ValueError('val_dataloader: the data set is empty, expected at least one video')
        if frozen := _frozen(model):
            runner.logger.info(frozen)
        settings = _without_effect(runner.optim_wrapper)
        for line in (*settings, *_unknown_keys(runner.cfg, model), *_in_epochs(runner), *_too_late(runner)):
            runner.logger.warning(line)
        self._watch = GradientWatch(model)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._look_at_rates(runner)
        if self._watch is None or self._watch.passes < WATCHED_PASSES:
            return
        watch, self._watch = self._watch, None
        watch.close()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        line = _without_gradient(model, watch.pop(), watch.passes)
        if line:
            runner.logger.warning(line)

    def _look_at_rates(self, runner) -> None:
        """Warns once when all learning rates are 0 for two iterations; a warm-up may begin with one."""
        groups = _groups(runner.optim_wrapper)
        scheduled = [group for group in groups if group.get('initial_lr')]
        is_still = bool(scheduled) and not any(group['lr'] for group in groups)
        self._still = self._still + 1 if is_still else 0
        if self._still == STILL and runner.iter + 1 < runner.max_iters:
            runner.logger.warning(
                f'param_scheduler: the learning rate is 0 after iteration {runner.iter + 1 - STILL}, the '
                f'training has {runner.max_iters}: nothing learns any more'
            )


def _frozen(model: nn.Module) -> str:
    """How many parameters are frozen, by the part of the model, or ''."""
    parameters = dict(model.named_parameters())
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    parts = Counter('.'.join(name.split('.')[:2]) for name in frozen)
    where = ', '.join(f'{count} of {part}' for part, count in parts.items())
    return f'{len(frozen)} of {len(parameters)} parameters are frozen: {where}' if frozen else ''


def _groups(optim_wrapper) -> list[dict]:
    """The parameter groups of an optimizer; none where there are several optimizers."""
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    return [] if optimizer is None else optimizer.param_groups


def _without_gradient(model: nn.Module, reached: set[str], passes: int) -> str:
    """What to say of parameters outside memories that no gradient reached, or ''."""
    memories = tuple(f'{name}.' for name, module in model.named_modules() if isinstance(module, Memory))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    others = [name for name in trained if not name.startswith(memories)]
    dead = [name for name in others if name not in reached]
    if not dead:
        return ''
    more = f' and {len(dead) - MOST_NAMES} more' if len(dead) > MOST_NAMES else ''
    return (
        f'{len(dead)} of {len(others)} trainable parameters of {type(model).__name__} outside its memory got '
        f'no gradient in the first {passes} backward passes, they do not learn: '
        f'{", ".join(dead[:MOST_NAMES])}{more}. Look at the losses and at the data, or freeze them'
    )


def _without_effect(optim_wrapper) -> Iterator[str]:
    """Settings of an optimizer with which parameters stay as they are."""
    groups = _groups(optim_wrapper)
    still = sum(len(group['params']) for group in groups if not group.get('initial_lr', group['lr']))
    if still:
        count = sum(len(group['params']) for group in groups)
        yield f'optim_wrapper: {still} of {count} parameters have a learning rate of 0, they do not learn'
    clip = getattr(optim_wrapper, 'clip_grad_kwargs', None) or {}
    for name in ('max_norm', 'clip_value'):
        if clip.get(name) == 0:
            yield f'optim_wrapper.clip_grad: {name}=0 makes every gradient 0, nothing learns'


def _unknown_keys(cfg, model: nn.Module) -> Iterator[str]:
    """Settings of parts of the model that there are not."""
    paramwise = (cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}
    names = [name for name, _ in model.named_parameters()]
    for key in paramwise.get('custom_keys') or {}:
        if not any(key in name for name in names):
            yield f"optim_wrapper.paramwise_cfg.custom_keys: '{key}' is in the name of no parameter"


def _in_epochs(runner) -> Iterator[str]:
    """Schedules and checkpoints of epochs in a training that counts iterations."""
    if not isinstance(runner.train_loop, IterBasedTrainLoop):
        return
    reason = 'counts epochs, the training counts iterations'
    for scheduler in _schedulers(runner):
        if scheduler.by_epoch:
            yield (f'param_scheduler {type(scheduler).__name__} {reason}: it never steps. Set by_epoch=False')
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.by_epoch:
            yield (
                f'{type(hook).__name__} {reason}: nothing is saved before the end. Set by_epoch=False and '
                'an interval in iterations'
            )


def _check_epochs(loop) -> None:
    """Raises a ValueError where an epoch would never end."""
    sampler = getattr(loop.dataloader.batch_sampler, 'sampler', None)
    if isinstance(loop, EpochBasedTrainLoop) and isinstance(sampler, (InfiniteSampler, IterationSampler)):
        raise ValueError(
            f'train_cfg: {type(loop).__name__} counts epochs, and with the endless {type(sampler).__name__} '
            "none ends: expected type='SeekingIterTrainLoop' and max_iters"
        )


def _schedulers(runner) -> list:
    schedulers = runner.param_schedulers or []
    return schedulers if isinstance(schedulers, list) else [*chain(*schedulers.values())]


def _too_late(runner) -> Iterator[str]:
    """Stages that would begin behind the last iteration, and warm-ups that would end there."""
    last, loop = runner.max_iters, runner.train_loop
    for name, begin in _beginnings(runner):
        if begin >= last:
            yield f'{name} would begin at iteration {begin}, the training has {last}: it never does'
    for scheduler in _schedulers(runner):
        warms_up = isinstance(scheduler, (ConstantParamScheduler, LinearParamScheduler))
        if warms_up and not scheduler.by_epoch and scheduler.begin + scheduler.total_iters > last:
            yield (
                f'param_scheduler {type(scheduler).__name__} ends after iteration '
                f'{scheduler.begin + scheduler.total_iters}, the training has {last}: set its end'
            )
    if runner.val_loop is not None and isinstance(loop, IterBasedTrainLoop) and loop.val_begin > last:
        yield f'train_cfg.val_begin={loop.val_begin}: the training has {last} iterations, none is validated'


def _beginnings(runner) -> Iterator[tuple[str, int]]:
    """Names and first iterations of what is scheduled by iterations."""
    for scheduler in _schedulers(runner):
        if not scheduler.by_epoch:
            yield f'param_scheduler {type(scheduler).__name__}', scheduler.begin
    for hook in runner.hooks:
        if hasattr(hook, 'begin_iter'):
            yield type(hook).__name__, hook.begin_iter
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for module in model.modules():
        for part in (module, *vars(module).values()):  # losses, and schedules that are no modules
            if getattr(part, 'top_share', None) == 1:
                continue  # a loss in which all pixels count throughout
            if isinstance(begin := getattr(part, 'begin_iter', None), int):
                yield type(part).__name__, begin
    for first, skip in getattr(runner.train_dataloader.sampler, 'skip_schedule', None) or []:
        yield f'skip {skip} of the ClipSkipHook', first
