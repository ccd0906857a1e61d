"""Configs with wrong types, unknown keys and unknown names: an error that names the key, before any work."""

import inspect
import itertools
import random

import pytest
from helpers.memory_cases import WIDTHS
from helpers.runs import SMALL_VOS
from helpers.vos_cases import tiny_config
from mmengine.config import Config

from mmstremn.engine.launch import load_config
from mmstremn.memory import AFFINITIES, GATES, MEMORIES, READERS, SELECTORS, SLOT_OPTIONS
from mmstremn.registry import DATASETS, MODELS, build

PARTS = (*MEMORIES, *SELECTORS, *GATES, *READERS, *AFFINITIES, *SLOT_OPTIONS)
JUNK = (None, True, -1, 0, 7, 1.5, float('nan'), '', 'x', [], [0], {}, dict(a=1), dict(type='Nothing'))
CASES = [(cls, name, value) for cls in PARTS for name in inspect.signature(cls).parameters for value in JUNK]
SEGMENTOR = [(name, value) for name in tiny_config() if name != 'type' for value in JUNK]
DATA = Config.fromfile(SMALL_VOS).train_dataloader.dataset.to_dict()
DATASET = [(name, value) for name in DATA if name != 'type' for value in JUNK]


def check(make, name, value, *others):
    """Built, or an error that names the key, or the value where that should be a component."""
    try:
        return make()
    except (TypeError, ValueError, KeyError) as error:
        named = (
            name,
            *others,
            *(
                ['Nothing', '.a: there is no such argument', "'a'", repr(value)]
                if isinstance(value, dict)
                else []
            ),
        )
        assert any(one in str(error) for one in named), f'{name}={value!r}: {error}'


def sampled(cases, some, size):
    return random.Random(0).sample(cases, size(min(some, len(cases)), len(cases)))


def test_values_of_memories_and_their_parts(size):
    for cls, name, value in sampled(CASES, 600, size):
        widths = {key: width for key, width in WIDTHS.items() if key != name}
        check(lambda: build({'type': cls.__name__, name: value}, **widths), name, value)  # noqa: B023


def test_unknown_keys_of_memories_and_their_parts():
    for cls in PARTS:
        with pytest.raises(TypeError, match='num_slotss'):
            build(dict(type=cls.__name__, num_slotss=3), **WIDTHS)


@pytest.mark.parametrize('place', ['memory', 'memory.selector', 'memory.reader', 'memory.gates', 'decoder'])
def test_unknown_names_in_a_model_are_named_with_the_choices(place):
    config = Config(dict(model=tiny_config()))
    unknown = dict(type='SlotMemoryy')
    config.merge_from_dict({f'model.{place}': [unknown] if place == 'memory.gates' else unknown})
    with pytest.raises(KeyError, match=r"'SlotMemoryy' is not registered .*Did you mean SlotMemory"):
        MODELS.build(config.model)


def test_values_of_a_segmentor(size):
    for name, value in sampled(SEGMENTOR, 40, size):
        check(lambda: MODELS.build(tiny_config() | {name: value}), name, value, 'backbone')  # noqa: B023


def test_values_of_a_data_set(size):
    for name, value in sampled(DATASET, 12, size):
        check(lambda: DATASETS.build(DATA | {name: value}), name, value)  # noqa: B023


@pytest.mark.parametrize(
    'where', ['train_dataloader.dataset', 'test_evaluator', 'train_cfg', 'train_dataloader.sampler', 'model']
)
def test_unknown_names_in_a_config_are_found_before_any_work(where, tmp_path):
    with pytest.raises(KeyError, match=rf"{where}: 'Nothing' is not registered"):
        load_config(str(SMALL_VOS), {f'{where}.type': 'Nothing'}, str(tmp_path / 'work'))
    assert not (tmp_path / 'work').exists()


def test_slots_of_training():
    for number, train in itertools.product((1, 5), (-1, 0)):
        with pytest.raises(ValueError, match='train_slots'):
            build(dict(type='SlotMemory', num_slots=number, train_slots=train), **WIDTHS)
