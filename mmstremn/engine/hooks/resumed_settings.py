"""What a training was done with, and what of it has changed when it is resumed."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.dist import get_world_size

NOTHING = 'nothing'


def training_settings(runner) -> dict[str, Any]:
    """The processes, the batch size and the data of a training, as plain values by name."""
    loader = runner.train_dataloader
    batches = getattr(loader, 'batch_sampler', None)
    size = loader.batch_size if loader.batch_size is not None else getattr(batches, 'batch_size', None)
    data = (runner.cfg.get('train_dataloader') or {}).get('dataset') if runner.cfg else None
    data = data if isinstance(data, Mapping) else {}  # a runner that was given a data set has no config of it
    numbers = {
        'processes': get_world_size(),
        'train_dataloader.batch_size': size,
        'videos or images to train on': len(loader.dataset),
    }
    return numbers | dict(_flat(data, 'train_dataloader.dataset'))


def warn_of_changes(runner, resumed: dict) -> None:
    """Log in a line what is not as in the training that is resumed, which goes on with what is there now.

    Args:
        runner: Of the resumed training.
        resumed: What its checkpoint has under ``reproducibility``.
    """
    old, new = resumed.get('trained_with'), training_settings(runner)
    if old is not None:  # checkpoints of earlier versions do not know
        changes = [
            f'{name}={new.get(name, NOTHING)!r}, not {old.get(name, NOTHING)!r}'
            for name in sorted(old.keys() | new.keys())
            if old.get(name, NOTHING) != new.get(name, NOTHING)
        ]
        if changes:
            runner.logger.warning(
                f'the training is resumed with {"; ".join(changes)}: it goes on with these, and differs from '
                'one that was not interrupted'
            )
    seed = (runner.cfg.get('randomness') or {}).get('seed') if runner.cfg else None
    if seed is not None and resumed['sampler_seed'] not in (None, seed):
        runner.logger.warning(
            f'the training is resumed with its seed {resumed["sampler_seed"]}, not {seed} of the config. To '
            'train with another seed start anew'
        )


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The plain values of nested configs by their dotted names."""
    if isinstance(value, Mapping):
        for key in value:
            yield from _flat(value[key], f'{name}.{key}')
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _flat(item, f'{name}.{index}')
    else:
        plain = value is None or type(value) in (bool, int, float, str)
        yield name, value if plain else repr(value)
