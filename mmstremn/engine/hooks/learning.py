"""Say at the start of a training what in it will not learn, or will never happen."""

from collections.abc import Iterator
from itertools import chain

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmstremn.memory import Memory
from mmstremn.models.gradient_watch import GradientWatch
from mmstremn.registry import HOOKS

WATCHED_PASSES = 3  # by then a gradient is past what begins at zero
MOST_NAMES = 8


@HOOKS.register_module()
class LearningCheckHook(Hook):
    """Warns of parameters that do not learn, and of what would begin after the end of the training;
    ``tools/train.py`` adds it.

    Before the first iteration: learning rates of 0, gradients that are clipped to 0, schedules, averages and
    validations that would begin too late. After three backward passes: parameters that got no gradient. Those
    of a memory are left to the model, which knows the reason (``rollout.finish_clip``).

    Raises:
        ValueError: No parameter is trainable, or the data set of the validation is empty.
    """

    def __init__(self):
        self._watch: GradientWatch | None = None

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f'no parameter of {type(model).__name__} is trainable: expected some with requires_grad'
            )
        if runner.val_loop is not None and not len(runner.val_loop.dataloader.dataset):
            raise ValueError('val_dataloader: the data set is empty, expected at least one video')
        for line in (*_without_effect(runner.optim_wrapper), *_too_late(runner)):
            runner.logger.warning(line)
        self._watch = GradientWatch(model)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self._watch is None or self._watch.passes < WATCHED_PASSES:
            return
        watch, self._watch = self._watch, None
        watch.close()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        line = _without_gradient(model, watch.pop(), watch.passes)
        if line:
            runner.logger.warning(line)


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
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    groups = [] if optimizer is None else optimizer.param_groups
    still = sum(len(group['params']) for group in groups if not group.get('initial_lr', group['lr']))
    if still:
        count = sum(len(group['params']) for group in groups)
        yield f'optim_wrapper: {still} of {count} parameters have a learning rate of 0, they do not learn'
    clip = getattr(optim_wrapper, 'clip_grad_kwargs', None) or {}
    for name in ('max_norm', 'clip_value'):
        if clip.get(name) == 0:
            yield f'optim_wrapper.clip_grad: {name}=0 makes every gradient 0, nothing learns'


def _too_late(runner) -> Iterator[str]:
    """Stages that would begin behind the last iteration."""
    last, loop = runner.max_iters, runner.train_loop
    for name, begin in _beginnings(runner):
        if begin >= last:
            yield f'{name} would begin at iteration {begin}, the training has {last}: it never does'
    if runner.val_loop is not None and isinstance(loop, IterBasedTrainLoop) and loop.val_begin > last:
        yield f'train_cfg.val_begin={loop.val_begin}: the training has {last} iterations, none is validated'


def _beginnings(runner) -> Iterator[tuple[str, int]]:
    """Names and first iterations of what is scheduled by iterations."""
    schedulers = runner.param_schedulers or []
    for scheduler in schedulers if isinstance(schedulers, list) else chain(*schedulers.values()):
        if not scheduler.by_epoch:
            yield f'param_scheduler {type(scheduler).__name__}', scheduler.begin
    for hook in runner.hooks:
        if hasattr(hook, 'begin_iter'):
            yield type(hook).__name__, hook.begin_iter
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for module in model.modules():
        for part in (module, *vars(module).values()):  # losses, and schedules that are no modules
            if isinstance(begin := getattr(part, 'begin_iter', None), int):
                yield type(part).__name__, begin
    for first, skip in getattr(runner.train_dataloader.sampler, 'skip_schedule', None) or []:
        yield f'skip {skip} of the ClipSkipHook', first
