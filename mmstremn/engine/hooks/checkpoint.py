"""Checkpoints that survive a kill at any moment, resume exactly, and are checked before they are loaded."""

import hashlib
import inspect
import io
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, get_rank, is_main_process, master_only
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType

from mmstremn.checkpoints.matching import checkpoint_weights, match
from mmstremn.checkpoints.reading import read_checkpoint
from mmstremn.engine.hooks.resumed_settings import training_settings, warn_of_changes
from mmstremn.engine.random_state import get_random_state, preserved_random_state, set_random_state
from mmstremn.registry import HOOKS, check_names
from mmstremn.utils.atomic import remove_partial_files, write_atomically
from mmstremn.utils.lock import hold_folder


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` for runs that may be killed at any moment.

    Files are written next to their place, flushed and renamed; an old checkpoint goes only when the new one
    and the ``last_checkpoint`` file that names it are in place. A checkpoint also holds the random state of
    every rank and the seed of the sampler, so a resumed run draws the numbers of the uninterrupted one, and
    says what has changed where it is resumed with other data, another batch size or number of processes. The
    work folder is held while the process lives: a second run in it is refused.

    Args:
        **kwargs: As for ``CheckpointHook``. ``backend_args`` default to the atomic local backend.

    Raises:
        TypeError: An argument that ``CheckpointHook`` does not have, which mmengine would refuse at the first
            checkpoint.
    """

    def __init__(self, backend_args: dict | None = None, **kwargs):
        if backend_args is None and '://' not in str(kwargs.get('out_dir')):
            backend_args = dict(backend='atomic')
        super().__init__(backend_args=backend_args, **kwargs)
        takes = [*inspect.signature(CheckpointHook).parameters, 'meta']
        check_names('AtomicCheckpointHook', self.args, [name for name in takes if name != 'kwargs'])
        self._resumed = None
        self._random_states = None
        self._state_before_validation = None

    def before_train(self, runner) -> None:
        self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        super().before_train(runner)
        self._follow_the_folder(runner.message_hub)
        if is_main_process():
            hold_folder(runner.work_dir)
            remove_partial_files(runner.work_dir)
            if osp.isdir(self.out_dir):
                remove_partial_files(self.out_dir)

    def _follow_the_folder(self, message_hub) -> None:
        """Files that a resumed run names are those of its own folder, where this was moved or copied."""
        named = {key: path for key, path in message_hub.runtime_info.items() if _names_checkpoint(key, path)}
        for key, path in named.items():
            message_hub.update_info(key, str(in_folder(path, self.out_dir)))
        info = message_hub.runtime_info
        self.last_ckpt = info.get('last_ckpt')
        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path = info.get('best_ckpt')
        for indicator in getattr(self, 'best_ckpt_path_dict', {}):
            self.best_ckpt_path_dict[indicator] = info.get(f'best_ckpt_{indicator}')

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._resumed = checkpoint.get('reproducibility')

    def before_train_epoch(self, runner) -> None:
        """Go on with the random numbers of the run that is resumed (``load_from`` alone starts anew)."""
        resumed, self._resumed = self._resumed, None
        if runner.iter == 0 or resumed is None:
            return
        warn_of_changes(runner, resumed)
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = resumed['sampler_seed']
        states = resumed['random_states']
        if get_rank() < len(states):
            set_random_state(states[get_rank()])
        else:
            runner.logger.warning(
                f'the checkpoint holds the random state of {len(states)} process(es), '
                f'none for rank {get_rank()}: the resumed run will differ from the uninterrupted one'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        seed = getattr(runner.train_dataloader.sampler, 'seed', None)
        checkpoint['reproducibility'] = dict(
            random_states=self._random_states, sampler_seed=seed, trained_with=training_settings(runner)
        )

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Save, point ``last_checkpoint`` to it, and only then remove what is too old."""
        self._random_states = all_gather_object(get_random_state())
        kept = [*self._kept(), *([] if step in self._kept() else [step])]
        if self.max_keep_ckpts > 0:
            # With the outdated ones, so that a run killed before it removed them removes them when it is
            # resumed.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(osp.join(runner.work_dir, 'last_checkpoint'), str(self.last_ckpt).encode())
        if self.max_keep_ckpts > 0:
            self._remove_outdated(kept[: -self.max_keep_ckpts])
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _kept(self) -> list[int]:
        return list(self.keep_ckpt_ids) if self.max_keep_ckpts > 0 else []

    @master_only
    def _remove_outdated(self, steps: list[int]) -> None:
        for step in steps:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def before_val_epoch(self, runner) -> None:
        self._state_before_validation = get_random_state()

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        with self._removing_later(), preserved_random_state():
            set_random_state(self._state_before_validation)  # what training goes on with is to be saved
            self._random_states = all_gather_object(get_random_state())
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_later(self) -> Iterator[None]:
        """Files that mmengine removes before their successors are written are removed afterwards."""
        remove, paths = self.file_backend.remove, []
        self.file_backend.remove = paths.append
        try:
            yield
        finally:
            self.file_backend.remove = remove
        best = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in paths:
            if path not in best and self.file_backend.isfile(path):
                remove(path)

    @master_only
    def _publish_model(self, runner, ckpt_path: str) -> None:
        """Write the ``published_keys`` to a file named after its own SHA-256, as torch.hub checks it."""
        checkpoint = read_checkpoint(ckpt_path)
        buffer = io.BytesIO()
        torch.save({key: value for key, value in checkpoint.items() if key in self.published_keys}, buffer)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = f'{osp.splitext(ckpt_path)[0]}-{digest[:8]}.pth'
        self.file_backend.put(buffer.getvalue(), path)
        runner.logger.info(f'{ckpt_path} is published as {path}')


def in_folder(path: str | Path, folder: str | Path) -> Path:
    """The file of this name in ``folder`` where there is one, else ``path`` itself."""
    moved = Path(folder, Path(path).name)
    return moved if moved.exists() else Path(path)


def _names_checkpoint(key: str, value) -> bool:
    named = key == 'last_ckpt' or key.startswith('best_ckpt')
    return named and isinstance(value, str) and '://' not in value


def _whole_state_dict(model: torch.nn.Module) -> dict | None:
    """That of a model whose weights are spread over processes; None for other models."""
    if not isinstance(model, FullyShardedDataParallel):
        return None
    whole = FullStateDictConfig(offload_to_cpu=True)
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT, whole):
        return model.state_dict()


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Compare a checkpoint with the model before it is loaded (mmengine loads what fits and only warns).

    It comes before other hooks, and leaves them the weights under ``state_dict`` and without the prefix of a
    data parallel
    wrapper: mmengine's ``EMAHook`` looks for them there.

    Args:
        strict: Raise at any difference; otherwise warn, and raise only if nothing fits.

    Raises:
        RuntimeError: With the missing, unexpected and misshapen keys. Or a training is resumed with another
            optimizer, or one with ``EMAHook`` without it: the checkpoint's weights are averages, from which
            the optimizer cannot go on.
    """

    priority = 'HIGHEST'

    def __init__(self, strict: bool = True):
        self.strict = strict

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        weights = checkpoint_weights(checkpoint)
        found = match(weights, model, _whole_state_dict(runner.model))
        if found.message and (self.strict or not found.fitting):
            raise RuntimeError(f'{runner._load_from}: {found.message}')
        if found.message:
            runner.logger.warning(f'{found.message}. The other {len(found.fitting)} keys are loaded.')
        if runner._resume and 'optimizer' in checkpoint:
            _check_optimizer(runner, checkpoint['optimizer'])
        averages = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        if runner._resume and 'ema_state_dict' in checkpoint and not averages:
            raise RuntimeError(
                'the checkpoint to resume from is of a training with EMAHook: expected an EMAHook in the '
                'config. '
                'To start anew from its averaged weights use load_from'
            )
        if weights.keys() != checkpoint.get('state_dict', {}).keys():
            checkpoint['state_dict'] = weights


def _check_optimizer(runner, saved: dict) -> None:
    """Whether the optimizer of a run can go on with a saved state; a warning names settings of the config
    that the saved ones replace.

    Raises:
        RuntimeError: It has other settings or other groups of parameters.
    """
    if not isinstance(getattr(runner, 'optim_wrapper', None), OptimWrapper) or 'param_groups' not in saved:
        return
    optimizer = runner.optim_wrapper.optimizer
    own, other = optimizer.param_groups, saved['param_groups']
    lacking, surplus = set(own[0]) - set(other[0]), set(other[0]) - set(own[0]) - {'initial_lr'}
    sizes = [[len(group['params']) for group in groups] for groups in (own, other)]
    if (lacking and surplus) or sizes[0] != sizes[1]:  # another version of PyTorch may add settings
        settings = ', '.join(sorted(surplus)) or 'the same settings'
        raise RuntimeError(
            f'{runner._load_from}: cannot be resumed by {type(optimizer).__name__} with groups of {sizes[0]} '
            f'parameters: it is of another optimizer, with {settings} and groups of {sizes[1]}. '
            'To start anew from its weights use load_from'
        )
    replaced = {}
    for group, old in zip(map(_settings, own), map(_settings, other), strict=True):
        replaced |= {
            name: (old[name], group[name]) for name in group.keys() & old.keys() if group[name] != old[name]
        }
    for name, (old, new) in sorted(replaced.items()):
        runner.logger.warning(
            f'{runner._load_from}: resumed with its {name}={old}, not {new} of the config. To train with '
            "the config's start anew from its weights, with load_from"
        )


def _settings(group: dict) -> dict:
    """Of a group of parameters; its learning rate is that before any schedule."""
    settings = {name: value for name, value in group.items() if name not in ('params', 'initial_lr')}
    return settings | dict(lr=group.get('initial_lr', group['lr']))
