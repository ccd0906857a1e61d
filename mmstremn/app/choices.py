"""The models and memories that a user chooses from."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import NamedTuple

import torch
from mmengine.config import Config

from mmstremn.adapters.sam2 import Sam2Segmentor, TrackerMemory
from mmstremn.apis import VOSInferencer, named_models
from mmstremn.memory import FIFOSelector, GrowingMemory, LRUSelector, MostSimilarSelector, SlotMemory
from mmstremn.models import VOSegmentor

AS_TRAINED, GROWING = 'as trained', 'every 5th frame, growing (STCN)'
SELECTORS = {
    'the oldest goes (FIFO)': FIFOSelector,
    'the least recently used goes (LRU)': LRUSelector,
    'the most similar goes': MostSimilarSelector,
}
MEMORIES = (AS_TRAINED, *SELECTORS, GROWING)
MOST_SLOTS = 32
MOST_KEPT = 4  # models that are kept ready


class Choice(NamedTuple):
    """What a user chose.

    Attributes:
        model: Name of a model.
        memory: Of :data:`MEMORIES`.
        slots: Of the memory; None: as many as the model was trained with.
    """

    model: str
    memory: str = AS_TRAINED
    slots: int | None = None

    def __str__(self) -> str:
        slots = '' if self.slots is None or self.memory == GROWING else f', {self.slots} slots'
        return f'{self.model}, {self.memory}{slots}'


class Models:
    """The models of all users: a model holds weights alone, what a video needs is in its session.

    Args:
        loaders: By name of a model: what gives it.
        default: The name of the model that is chosen first.
        at_once: Runs that are computed at a time; further ones wait for their turn.

    Attributes:
        names: Of the models.
        turns: Of the runs.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], VOSegmentor]], default: str, at_once: int = 2):
        self._loaders, self.default = dict(loaders), default
        self.names = list(dict.fromkeys([default, *loaders]))
        self.turns = BoundedSemaphore(at_once)
        self._kept: OrderedDict[Choice, VOSegmentor] = OrderedDict()
        self._lock = Lock()

    def get(self, choice: Choice) -> VOSegmentor:
        """The model of a choice, built when it is asked for first.

        Raises:
            ValueError: There is no such model or memory, the number of slots is not in 1..MOST_SLOTS, or the
                memory of the model cannot be changed.
        """
        if choice.model not in self._loaders:
            raise ValueError(f"model '{choice.model}': expected one of {', '.join(self.names)}")
        if choice.slots is not None and not 1 <= choice.slots <= MOST_SLOTS:
            raise ValueError(f'slots: expected 1..{MOST_SLOTS}, got {choice.slots}')
        with self._lock:
            return self._kept_or_built(choice)

    def memories(self, model: str) -> list[str]:
        """The memories that a model can have."""
        return list(_memories_of(self.get(Choice(model))))

    def _kept_or_built(self, choice: Choice) -> VOSegmentor:
        if choice not in self._kept:
            trained = Choice(choice.model)
            if choice == trained:
                self._kept[choice] = self._loaders[choice.model]()
            else:
                self._kept[choice] = _with_memory(self._kept_or_built(trained), choice)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(choice)
        return self._kept[choice]


def shipped_models(device: str | None = None) -> dict[str, Callable[[], VOSegmentor]]:
    """What gives the models that come with weights, one name for each file of weights.

    Args:
        device: The first GPU if there is one, else the CPU, by default.
    """
    names = dict.fromkeys(Path(model.weights).stem for model in named_models().values())
    return {name: partial(_load, name, None, device) for name in names}


def one_model(
    model: str | Config, weights: str | None = None, device: str | None = None
) -> dict[str, Callable[[], VOSegmentor]]:
    """What gives a model, by its name.

    Args:
        model: A name of :func:`~mmstremn.apis.named_models`, or a config.
        weights: Its checkpoint; None: the model or the config says where its weights are.
        device: As of :func:`shipped_models`.
    """
    name = model if isinstance(model, str) else Path(model.filename or 'config').stem
    name = name if weights is None else f'{name} ({Path(weights).name})'
    return {name: partial(_load, model, weights, device)}


def _load(model: str | Config, weights: str | None, device: str | None) -> VOSegmentor:
    return VOSInferencer(model, weights, device).model


def takes_points(model: torch.nn.Module) -> bool:
    """Whether a model takes points and boxes, beside masks."""
    return getattr(model, 'takes_points', False)


def _memories_of(model: VOSegmentor) -> Sequence[str]:
    if isinstance(model.memory, SlotMemory):
        return MEMORIES
    return (AS_TRAINED, *SELECTORS) if type(model.memory) is TrackerMemory else (AS_TRAINED,)


def _with_memory(model: VOSegmentor, choice: Choice) -> VOSegmentor:
    """A model with the same weights and another memory; the reader and the gates stay."""
    known = _memories_of(model)
    if choice.memory not in known:
        raise ValueError(f"memory '{choice.memory}': expected one of {', '.join(known)}")
    if isinstance(model, Sam2Segmentor) and len(known) > 1:
        return model.with_memory(**_tracker_memory(model, choice))
    if len(known) == 1:
        raise ValueError(f'slots: a {type(model.memory).__name__} has no number of slots that can be chosen')
    model = copy.deepcopy(model)
    if choice.memory == GROWING:
        model.memory = GrowingMemory(model.memory.reader)
    elif choice.memory != AS_TRAINED:
        model.memory.selector = SELECTORS[choice.memory]()
    if choice.slots is not None and choice.memory != GROWING:
        model.memory.num_slots = choice.slots
    return model.to(_device_of(model)).eval()


def _tracker_memory(model: Sam2Segmentor, choice: Choice) -> dict:
    """What changes in the config of a tracker's memory; slots are those of tracked frames."""
    changes: dict = {} if choice.slots is None else dict(num_slots=choice.slots)
    if choice.memory == AS_TRAINED:
        return changes
    selector = SELECTORS[choice.memory]
    if selector.needs_keys and model.memory.key == 'none':
        changes.update(key='memory')
    return changes | dict(selector=dict(type=selector.__name__))


def _device_of(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
