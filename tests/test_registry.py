"""Building components from configs, and what is said when that fails."""

import mmengine.registry as mmengine_registry
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS as MMENGINE_MODELS, DefaultScope
from torch import nn

import mmstremn.memory as memory_package
from mmstremn.memory import (
    AFFINITIES,
    CUTIE_PARTS,
    GATES,
    MEMORIES,
    READERS,
    SELECTORS,
    SLOT_OPTIONS,
    FIFOSelector,
    GumbelSelector,
    SlotMemory,
)
from mmstremn.registry import DATASETS, HOOKS, METRICS, MODELS, SCOPE, Registry, build, find

PARTS = (*AFFINITIES, *CUTIE_PARTS, *GATES, *MEMORIES, *READERS, *SELECTORS, *SLOT_OPTIONS)


@pytest.mark.parametrize('part', PARTS)
def test_every_part_builds_from_its_type_alone(part):
    assert type(build(dict(type=part.__name__))) is part
    assert find(part.__name__) is part


def test_the_lists_of_parts_are_complete():
    """A new part must be added to its list, or nothing could name it in a config."""
    exported = [getattr(memory_package, name) for name in memory_package.__all__]
    modules = {c for c in exported if isinstance(c, type) and issubclass(c, nn.Module)}
    bases = {getattr(memory_package, name) for name in ('Memory', 'Selector', 'Gate', 'Affinity')}
    assert modules == {*PARTS, *bases}


def test_nested_configs_are_built():
    memory = build(
        dict(
            type='SlotMemory',
            num_slots=4,
            selector=dict(type='LRUSelector'),
            reader=dict(type='TopKReader', k=7, affinity=dict(type='CosineAffinity', temperature=0.5)),
            gates=[dict(type='EmptyFirst'), dict(type='EveryN', n=3)],
        )
    )
    assert memory.num_slots == 4
    assert type(memory.selector).__name__ == 'LRUSelector'
    assert (memory.reader.k, memory.reader.affinity.temperature) == (7, 0.5)
    assert [type(gate).__name__ for gate in memory.gates] == ['EmptyFirst', 'EveryN']
    assert memory.gates[1].n == 3


def test_a_config_is_not_changed():
    cfg = dict(type='SlotMemory', selector=dict(type='GumbelSelector'))
    build(cfg, key_channels=4)
    assert cfg == dict(type='SlotMemory', selector=dict(type='GumbelSelector'))


def test_built_objects_pass_through():
    selector = FIFOSelector()
    assert build(selector) is selector
    assert build(dict(type='SlotMemory', selector=selector)).selector is selector
    assert build(None) is None
    with pytest.raises(KeyError, match="a dict with a 'type'"):
        build(dict(key=1))


def test_a_class_may_be_the_type():
    assert isinstance(build(dict(type=FIFOSelector)), FIFOSelector)


def test_config_dicts_are_built():
    memory = build(ConfigDict(type='SlotMemory', selector=dict(type='FIFOSelector'), _scope_='mmstremn'))
    assert isinstance(memory.selector, FIFOSelector)


def test_context_fills_what_a_config_leaves_out():
    memory = build(dict(type='SlotMemory'), key_channels=6, value_channels=9)
    assert memory.selector.describe_key.in_features == 6
    assert memory.selector.describe_value.in_features == 9
    nested = build(dict(type='SlotMemory', selector=dict(type='GumbelSelector', channels=5)), key_channels=6)
    assert (nested.selector.describe_key.in_features, nested.selector.norm.normalized_shape) == (6, (5,))


def test_a_config_wins_over_the_context():
    assert build(dict(type='GumbelSelector', key_channels=3), key_channels=6).describe_key.in_features == 3


def test_context_reaches_only_those_who_name_it():
    assert isinstance(build(dict(type='FIFOSelector'), key_channels=6), FIFOSelector)


def test_an_unknown_type_is_named_with_those_there_are():
    with pytest.raises(KeyError) as error:
        build(dict(type='SlotMemory', selector=dict(type='FIFOSelektor')))
    message = str(error.value)
    assert "'FIFOSelektor' is not registered as a model of mmstremn" in message
    assert 'Did you mean FIFOSelector' in message
    assert 'SlotMemory' in message.split('Registered: ')[1]


def test_a_type_like_no_other_gets_no_suggestion():
    with pytest.raises(KeyError, match='Registered: ') as error:
        find('Xylophone')
    assert 'Did you mean' not in str(error.value)


def test_unknown_arguments_name_the_class():
    with pytest.raises(TypeError, match=r'SlotMemory.*number_of_slots'):
        build(dict(type='SlotMemory', number_of_slots=4))


@pytest.mark.parametrize(
    'build_it, wrong, message',
    [
        (
            build,
            dict(type='SlotMemory', slotz=5),
            r'SlotMemory\.slotz: .*Did you mean num_slots\? .* selector,',
        ),
        (
            build,
            dict(type='SlotMemory', xyz=5),
            r'SlotMemory\.xyz: there is no such argument\. SlotMemory takes',
        ),
        (METRICS.build, dict(type='DAVISMetric', out_fil='x'), r'DAVISMetric\.out_fil: .* mean out_file\?'),
        (
            build,
            dict(type='FIFOSelector', slotz=3),
            r'FIFOSelector\.slotz: there is no such argument\. FIFOSelector takes none',
        ),
        (build, dict(type='KeepFirst', keep=1), r'KeepFirst\.keep: there is no such argument'),
    ],
)
def test_the_most_similar_argument_is_named(build_it, wrong, message):
    with pytest.raises(TypeError, match=message):
        build_it(wrong)


class Downwards(FIFOSelector):
    """A class as users write and register them."""

    def __init__(self, depth: int = 3):
        super().__init__()


class Anything(SlotMemory):
    """It may do with its arguments what it likes."""

    def __init__(self, **kwargs):
        super().__init__(num_slots=kwargs.pop('slots'), **kwargs)


def test_classes_that_are_based_on_ours_are_checked():
    message = r'Downwards\.depht: there is no such argument\. Did you mean depth\? Downwards takes depth'
    with pytest.raises(TypeError, match=message):
        build(dict(type=Downwards, depht=2))
    assert build(dict(type=Downwards, depth=2)) is not None
    assert build(dict(type=Anything, slots=3)).num_slots == 3


def test_parts_that_nobody_builds_are_refused():
    """mmengine's ``build`` hands configs of parts to the class as they are."""
    for parts in (dict(selector=dict(type='FIFOSelector')), dict(gates=[dict(type='KeepFirst')])):
        (name,) = parts
        with pytest.raises(
            TypeError, match=rf'SlotMemory\.{name}: expected .*registry\.build builds parts too'
        ):
            MODELS.build(dict(type='SlotMemory', **parts))
        assert build(dict(type='SlotMemory', **parts)).num_slots
    wrong = dict(type='WeightedVOSDataset', datasets=dict(type='DAVISDataset'))
    with pytest.raises(
        TypeError, match=r"WeightedVOSDataset\.datasets: expected .*, got {'type': 'DAVISDataset'}$"
    ):
        DATASETS.build(wrong)
    for build_it in (build, MODELS.build):
        with pytest.raises(TypeError, match=r'SlotMemory\.gates: expected'):
            build_it(dict(type='SlotMemory', gates=dict(type='KeepFirst')))
    for wrong in (None, 5):
        with pytest.raises(KeyError, match="a dict with a 'type'"):
            build(dict(type='SlotMemory', selector=dict(type=wrong)))


def test_names_are_looked_up_in_our_scope_whatever_the_default():
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert find('SlotMemory') is SlotMemory
        assert isinstance(build(dict(type='SlotMemory')).selector, GumbelSelector)


def test_what_mmengine_has_is_found_too():
    assert find('BaseDataPreprocessor') is MMENGINE_MODELS.get('BaseDataPreprocessor')
    assert find('CheckpointHook', HOOKS).__name__ == 'CheckpointHook'


@pytest.mark.parametrize(
    'registry, name', [(MODELS, 'VOSegmentor'), (DATASETS, 'DAVISDataset'), (METRICS, 'DAVISMetric')]
)
def test_registries_fill_themselves(registry, name):
    assert registry.scope == SCOPE
    assert isinstance(registry, Registry)
    assert find(name, registry).__name__ == name
    assert find(f'mmstremn.{name}', registry).__name__ == name


@pytest.mark.parametrize(
    'root, name, close, listed',
    [
        (DATASETS, 'DAVISDatasett', 'DAVISDataset', 'SyntheticVOSDataset'),
        (METRICS, 'DAVISMetrik', 'DAVISMetric', 'ClipAccuracy'),
        (mmengine_registry.METRICS, 'DAVISMetrik', 'DAVISMetric', 'ClipAccuracy'),
        (mmengine_registry.HOOKS, 'SlotTimlineHook', 'SlotTimelineHook', 'FiniteLossHook'),
        (mmengine_registry.HOOKS, 'ChekpointHook', 'CheckpointHook', 'EMAHook'),
        (mmengine_registry.OPTIMIZERS, 'AdmW', 'AdamW', 'SGD'),
    ],
)
def test_mmengines_own_build_names_the_choices_too(root, name, close, listed):
    """As in a run, where mmengine builds the parts and ``default_scope`` is ours."""
    with pytest.raises(KeyError) as error:
        root.build(dict(type=name))
    message = str(error.value)
    assert f"'{name}' is not registered as a" in message
    assert close in message.split('Did you mean ')[1].split('?')[0].split(', ')
    assert listed in message.split('Registered: ')[1]


def test_another_scope_that_names_ours_gets_the_choices():
    with (
        DefaultScope.overwrite_default_scope('mmengine'),
        pytest.raises(KeyError, match='Did you mean SlotMemory, '),
    ):
        MMENGINE_MODELS.build(dict(type='mmstremn.SlotMemry'))


def test_a_scope_that_is_not_installed_is_named():
    with pytest.raises(
        KeyError, match=r"'mmnothing\.Net' was not found: No module named 'mmnothing'.*python -m mmstremn"
    ):
        MODELS.build(dict(type='mmnothing.Net'))


def test_another_librarys_choices_are_named():
    pytest.importorskip('mmseg')
    with pytest.raises(
        KeyError, match=r"'mmseg\.FCNHed' is not registered as a model of mmseg\. Did you mean FCNHead"
    ):
        MODELS.build(dict(type='mmseg.FCNHed'))


def test_a_module_is_no_type():
    """mmengine imports any module that has the name, and then fails to call it."""
    with pytest.raises(KeyError, match="'random' is not registered"):
        MODELS.build(dict(type='random'))
    assert MODELS.build(dict(type='torch.nn.Linear', in_features=2, out_features=3)).out_features == 3


def test_unknown_arguments_of_checkpoints_are_refused_before_the_training():
    with pytest.raises(TypeError, match=r'AtomicCheckpointHook\.intervall: .* Did you mean interval\?'):
        HOOKS.build(dict(type='AtomicCheckpointHook', intervall=3))
    HOOKS.build(dict(type='AtomicCheckpointHook', interval=3, meta=dict(about='a run')))
