"""The models and memories that a user chooses from."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import torch

from mmstremn.apis import VOSInferencer, named_models
from mmstremn.apis.model_names import DEFAULT_MODEL
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
        device: The first GPU if there is one, else the CPU, by default.
        default: The model that is chosen first: a name of :func:`~mmstremn.apis.named_models`.
        load: Gives the model of a name.

    Attributes:
        names: Of the models.
    """

    def __init__(
        self,
        device: str | None = None,
        default: str = DEFAULT_MODEL,
        load: Callable[[str], VOSegmentor] | None = None,
    ):
        self.default = default
        self.names = list(dict.fromkeys([default, *([] if load else _names())]))
        self._load = load or (lambda name: VOSInferencer(name, device=device).model)
        self._kept: OrderedDict[Choice, VOSegmentor] = OrderedDict()
        self._lock = Lock()

    def get(self, choice: Choice) -> VOSegmentor:
        """The model of a choice, built when it is asked for first.

        Raises:
            ValueError: There is no such model or memory, the number of slots is not in 1..MOST_SLOTS, or the
                memory of the model has no slots.
        """
        if choice.model not in self.names:
            raise ValueError(f"model '{choice.model}': expected one of {', '.join(self.names)}")
        if choice.memory not in MEMORIES:
            raise ValueError(f"memory '{choice.memory}': expected one of {', '.join(MEMORIES)}")
        if choice.slots is not None and not 1 <= choice.slots <= MOST_SLOTS:
            raise ValueError(f'slots: expected 1..{MOST_SLOTS}, got {choice.slots}')
        with self._lock:
            return self._kept_or_built(choice)

    def _kept_or_built(self, choice: Choice) -> VOSegmentor:
        if choice not in self._kept:
            trained = Choice(choice.model)
            if choice == trained:
                self._kept[choice] = self._load(choice.model)
            else:
                self._kept[choice] = _with_memory(self._kept_or_built(trained), choice)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(choice)
        return self._kept[choice]


def _names() -> list[str]:
    """One name for each file of weights."""
    return list(dict.fromkeys(Path(model.weights).stem for model in named_models().values()))


def _with_memory(model: VOSegmentor, choice: Choice) -> VOSegmentor:
    """A model with the same weights and another memory; the reader and the gates stay."""
    memory = model.memory
    if not isinstance(memory, SlotMemory):
        raise ValueError(
            f"model '{choice.model}': its memory is a {type(memory).__name__}, expected '{AS_TRAINED}' and "
            'no number of slots'
        )
    model = copy.deepcopy(model)
    if choice.memory == GROWING:
        model.memory = GrowingMemory(model.memory.reader)
    elif choice.memory != AS_TRAINED:
        model.memory.selector = SELECTORS[choice.memory]()
    if choice.slots is not None and choice.memory != GROWING:
        model.memory.num_slots = choice.slots
    return model.to(_device_of(model)).eval()


def _device_of(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device
