"""The options of memories and their parts: defaults, on which configs and saved weights count, and limits."""

import re

import pytest
import torch
from helpers.memory_cases import build_memory, make_entry, make_query

from mmstremn import memory
from mmstremn.memory.published.dam4sam import DAM4SAM
from mmstremn.memory.published.sam2long import SAM2Long
from mmstremn.memory.published.samurai import SAMURAI, SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory

KEY_AND_VALUE = dict(key_channels=64, value_channels=256)
RECURRENT = dict(KEY_AND_VALUE, hidden_channels=256, kernel=5)
TRACKER = dict(num_prompted=4, key='none', num_places=6, num_pointers=16, max_prompted=-1)
DEFAULTS = {
    memory.SlotMemory: dict(KEY_AND_VALUE, num_slots=5, per_object_key=False),
    memory.GrowingMemory: dict(every=5, keep_last=False, per_object_key=False),
    memory.TwoLevelMemory: dict(
        min_frames=5,
        max_frames=10,
        every=5,
        num_prototypes=128,
        capacity=10_000,
        k=30,
        sensory_channels=64,
        value_channels=256,
        decoder_channels=256,
        buffer=0,
        permanent=1,
    ),
    memory.CutieMemory: dict(pixel_memory=memory.TwoLevelMemory(sensory_channels=0)),
    memory.RecentPromptedMemory: dict(
        KEY_AND_VALUE, num_recent=6, num_prompted=2, num_pointers=16, decoder_channels=256
    ),
    memory.GatedLinearMemory: KEY_AND_VALUE,
    memory.GraphMemory: dict(KEY_AND_VALUE, num_nodes=6, steps=3),
    memory.MergingMemory: dict(capacity=4),
    memory.CompressiveMemory: dict(KEY_AND_VALUE, num_slots=3, num_compressed=8, mode='conv'),
    memory.GatedSlotMemory: dict(KEY_AND_VALUE, num_slots=4),
    memory.NTMMemory: dict(KEY_AND_VALUE, num_slots=5),
    memory.RecurrentEmbeddingMemory: dict(KEY_AND_VALUE, every=3),
    memory.RecurrentSlotMemory: KEY_AND_VALUE,
    memory.ConvLSTMMemory: dict(RECURRENT, layers=1),
    memory.STLSTMMemory: dict(RECURRENT, layers=2, decoupling=0.0),
    memory.E3DLSTMMemory: dict(RECURRENT, layers=1, history=5),
    memory.CosineAffinity: dict(temperature=0.07),
    memory.TopKReader: dict(k=20),
    memory.KernelizedReader: dict(k=20, sigma=7.0),
    memory.LocalWindowReader: dict(radius=7),
    memory.GumbelSelector: dict(KEY_AND_VALUE, channels=64, temperature=1.0, gradient='history'),
    memory.UCBSelector: dict(exploration=1.5),
    memory.FeatureSelector: dict(channels=48, temperature=1.0),
    memory.EveryN: dict(n=5),
    memory.MinNovelty: dict(novelty=0.05),
    memory.MinPresence: dict(probability=0.5),
    memory.MinConfidence: dict(probability=0.8),
    memory.Skip: dict(allowed=True, penalty=0.0),
    memory.DeformableAlign: dict(key_channels=64, channels=32),
    memory.SlotFusion: dict(mode='average', threshold=0.95, weight=0.5),
    memory.SensoryMemory: dict(channels=256, value_channels=256, decoder_channels=256),
    memory.ObjectMemory: dict(num_summaries=16, channels=256, value_channels=256),
    TrackerMemory: dict(TRACKER, num_slots=6, horizon=6, by_rank=False),
    DAM4SAM: dict(
        num_resolving=4,
        stride=5,
        least_iou=0.8,
        size_change=0.2,
        interval=5,
        most_overlap=0.7,
        key='none',
        num_places=6,
        num_pointers=16,
    ),
    SAM2Long: dict(TRACKER, num_pathways=3, least_iou=0.1, certain=2.0, num_read=6),
    SAMURAI: dict(TRACKER, weight=0.15, stable_after=15, stable_iou=0.3, iou=0.5, score=0.0, num_read=6),
    SAMURAISelector: dict(iou=0.5, score=0.0),
}
PLAIN = (int, float, str, tuple, type(None))


def contents(module):
    """The plain attributes of a module and its parts, and the weights that one seed gives them."""
    plain = {
        (name, attribute): value
        for name, part in module.named_modules()
        for attribute, value in vars(part).items()
        if not attribute.startswith('_') and isinstance(value, PLAIN)
    }
    return plain, module.state_dict()


@pytest.mark.parametrize(
    ('part', 'options'), DEFAULTS.items(), ids=lambda value: getattr(value, '__name__', '')
)
def test_defaults(part, options):
    torch.manual_seed(0)
    plain, weights = contents(part())
    torch.manual_seed(0)
    expected, expected_weights = contents(part(**options))
    assert plain == expected
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)


AT_LEAST_ONE = [
    (memory.SlotMemory, ['num_slots', 'train_slots']),
    (memory.GrowingMemory, ['every']),
    (memory.TwoLevelMemory, ['every', 'num_prototypes', 'k', 'permanent']),
    (memory.RecentPromptedMemory, ['num_recent', 'num_prompted', 'num_pointers']),
    (memory.GraphMemory, ['steps']),
    (memory.CompressiveMemory, ['num_slots', 'num_compressed']),
    (memory.GatedSlotMemory, ['num_slots']),
    (memory.RecurrentEmbeddingMemory, ['every']),
    (memory.ConvLSTMMemory, ['value_channels', 'hidden_channels', 'layers']),
    (memory.STLSTMMemory, ['value_channels', 'hidden_channels', 'layers']),
    (memory.E3DLSTMMemory, ['value_channels', 'hidden_channels', 'layers', 'history']),
    (memory.SensoryMemory, ['channels']),
    (memory.EveryN, ['n']),
    (memory.DeformableAlign, ['channels']),
]
COMPAT = "TwoLevelMemory.compat must be None or 'xmem' or 'cutie', got 'stm'"
# Part, a wrong option, what is said, and the nearest options that are right.
LIMITS = [
    (memory.TwoLevelMemory, dict(compat='stm'), COMPAT, [dict(compat='xmem'), dict(compat='cutie')]),
    (
        memory.TwoLevelMemory,
        dict(min_frames=1),
        '.min_frames must be at least 2, got 1',
        [dict(min_frames=2)],
    ),
    (
        memory.TwoLevelMemory,
        dict(max_frames=5),
        '.max_frames must be more than min_frames (5), got 5',
        [dict(max_frames=6)],
    ),
    (
        memory.TwoLevelMemory,
        dict(sensory_channels=-1),
        '.sensory_channels must be at least 0, got -1',
        [dict(sensory_channels=0)],
    ),
    (memory.TwoLevelMemory, dict(buffer=-1), '.buffer must be at least 0, got -1', [dict(buffer=0)]),
    (
        memory.TwoLevelMemory,
        dict(capacity=9, num_prototypes=7, buffer=3),
        '.capacity must be at least num_prototypes (7) and buffer (3) together, got 9',
        [dict(capacity=10, num_prototypes=7, buffer=3)],
    ),
    (memory.GraphMemory, dict(num_nodes=1), '.num_nodes must be at least 2, got 1', [dict(num_nodes=2)]),
    (memory.NTMMemory, dict(num_slots=1), '.num_slots must be at least 2, got 1', [dict(num_slots=2)]),
    (memory.MergingMemory, dict(capacity=0), '.capacity must be at least 1 frame, got 0', [dict(capacity=1)]),
    *(
        (
            memory.MergingMemory,
            dict(novel_share=share),
            f'.novel_share must be above 0 and at most 1, or None, got {share}',
            [dict(novel_share=1), dict(novel_share=0.01)],
        )
        for share in (0, 1.5)
    ),
    (
        memory.MergingMemory,
        dict(affinity=memory.AnisotropicL2Affinity()),
        '.affinity must need no selection (features have no shrinkage), got AnisotropicL2Affinity',
        [dict(affinity=memory.CosineAffinity())],
    ),
    (
        memory.CompressiveMemory,
        dict(mode='sum'),
        ".mode must be one of ('conv', 'mean', 'max'), got 'sum'",
        [dict(mode='mean'), dict(mode='max')],
    ),
    *(
        (
            memory.BlendedMemory,
            dict(momentum=momentum),
            f'.momentum must be None or in 0 <= momentum < 1, got {momentum}',
            [dict(momentum=0), dict(momentum=0.9)],
        )
        for momentum in (-0.1, 1)
    ),
    *(
        (part, dict(kernel=kernel), f'.kernel must be odd and positive, got {kernel}', [dict(kernel=1)])
        for part in (memory.ConvLSTMMemory, memory.STLSTMMemory, memory.E3DLSTMMemory)
        for kernel in (-1, 4)
    ),
    *(
        (part, dict(key_channels=-1), '.key_channels must be at least 0, got -1', [dict(key_channels=0)])
        for part in (memory.ConvLSTMMemory, memory.STLSTMMemory, memory.E3DLSTMMemory)
    ),
    (
        memory.STLSTMMemory,
        dict(decoupling=-1),
        '.decoupling must be at least 0, got -1',
        [dict(decoupling=0), dict(decoupling=0.1)],
    ),
    *(
        (
            memory.ObjectMemory,
            dict(num_summaries=number),
            f'.num_summaries must be even and at least 2, got {number}',
            [dict(num_summaries=2)],
        )
        for number in (0, 3)
    ),
    *(
        (
            memory.ObjectMemory,
            dict(channels=number),
            f'.channels must be a multiple of 4, got {number}',
            [dict(channels=4)],
        )
        for number in (0, 6)
    ),
    (memory.KernelizedReader, dict(sigma=0), '.sigma must be positive, got 0', [dict(sigma=0.1)]),
    (memory.LocalWindowReader, dict(radius=-1), '.radius must be at least 0, got -1', [dict(radius=0)]),
    (memory.KeepPrompted, dict(most=0), '.most must be at least 1 or None, got 0', [dict(most=1)]),
    (
        memory.UCBSelector,
        dict(exploration=-1),
        '.exploration must be at least 0, got -1',
        [dict(exploration=0)],
    ),
    (
        memory.GumbelSelector,
        dict(gradient='none'),
        ".gradient must be one of ('history', 'blend'), got 'none'",
        [dict(gradient='blend')],
    ),
    (
        memory.SlotFusion,
        dict(mode='sum'),
        ".mode must be one of none, average, learned, got 'sum'",
        [dict(mode='none')],
    ),
    *(
        (
            memory.SlotFusion,
            dict(threshold=t),
            f'.threshold must be in -1..1, got {t}',
            [dict(threshold=limit)],
        )
        for t, limit in ((-1.1, -1), (1.1, 1))
    ),
    *(
        (memory.SlotFusion, dict(weight=w), f'.weight must be in 0..1, got {w}', [dict(weight=limit)])
        for w, limit in ((-0.1, 0), (1.1, 1))
    ),
]
LIMITS += [
    (part, {name: 0}, f'.{name} must be at least 1, got 0', [{name: 1}])
    for part, names in AT_LEAST_ONE
    for name in names
]


@pytest.mark.parametrize(('part', 'wrong', 'message', 'right'), LIMITS, ids=str)
def test_limits(part, wrong, message, right):
    named = message if message.startswith(part.__name__) else part.__name__ + message
    with pytest.raises(ValueError, match=f'^{re.escape(named)}$'):
        part(**wrong)
    for options in right:
        built = part(**options)
        for name, value in options.items():
            assert getattr(built, name, value) == value


def test_methods_that_a_derived_class_must_have():
    entry, query = make_entry(), make_query()
    for part, name, arguments, said in (
        (memory.Memory, 'init', (entry,), 'init(entry, seeds)'),
        (memory.Memory, 'read', (None, query), 'read(state, query)'),
        (memory.Memory, 'write', (None, entry), 'write(state, entry)'),
        (memory.Affinity, 'forward', (query, entry.key), 'forward(query, key, shrinkage)'),
        (memory.Gate, 'forward', (entry.key, None, entry), 'forward(logits, state, entry)'),
        (memory.Selector, 'score', (None, entry), 'score(state, entry)'),
    ):

        class Unfinished(part):
            pass

        with pytest.raises(NotImplementedError, match=rf'^Unfinished must implement {re.escape(said)}$'):
            getattr(Unfinished(), name)(*arguments)


def test_what_a_memory_does_not_keep_is_said_with_one_that_does():
    kept = memory.BlendedMemory()
    state = kept.init(make_entry())
    with pytest.raises(
        TypeError, match=r'^BlendedMemory keeps no tokens of objects: .* such as RecentPromptedMemory$'
    ):
        kept.object_tokens(state)
    with pytest.raises(
        TypeError, match=r'^BlendedMemory keeps no keys of frames: .* SlotMemory or GrowingMemory$'
    ):
        kept.distance(state, make_query())
    assert kept.timeline(state) is None and kept.wants(state)
    assert kept.penalty(state) == {} and kept.untrained_parts(state) == {}


def test_what_a_memory_needs_is_said():
    two_level = memory.TwoLevelMemory(sensory_channels=0)
    with pytest.raises(ValueError, match=r'^TwoLevelMemory needs Entry\.shrinkage \(B, 1, P\), got None$'):
        two_level.init(make_entry())
    with pytest.raises(ValueError, match=r'^TwoLevelMemory needs Query\.selection \(B, P, Ck\), got None$'):
        two_level.read(two_level.init(make_entry(shrinkage=True)), make_query())
    with pytest.raises(ValueError, match=r'^Entry\.shrinkage: expected \(B, G, P\) .* got None$'):
        make_entry().required_shrinkage()
    slots = memory.SlotMemory(selector=memory.FIFOSelector())
    state = slots.init(make_entry())
    for part, method, message in (
        (memory.UCBSelector(), 'score', r'^UCBSelector needs SlotState\.relevance \(B, G, S\), .* got None$'),
        (
            memory.FeatureSelector(),
            'features',
            r'^FeatureSelector needs SlotState\.notes, .* keeps, got None$',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(part, method)(state, make_entry())
    with pytest.raises(
        ValueError, match=r'^KeepPrompted needs SlotState\.prompted \(B, G, S\), .* got None$'
    ):
        memory.KeepPrompted()(torch.zeros(1, 1, 6), state, make_entry())
    for reader in (memory.KernelizedReader(), memory.LocalWindowReader()):
        with pytest.raises(
            ValueError, match=rf"^{type(reader).__name__} needs Query\.extras\['grid'\] .* got none$"
        ):
            contents = make_entry().key[:, :, None], None, make_entry().value[:, :, None]
            reader.eval()(make_query(), *contents, torch.ones(1, 1, 1, dtype=torch.bool))
    for selection, shrinkage in ((True, None), (False, torch.ones(1, 1, 4))):
        message = f'got selection={selection}, shrinkage={shrinkage is not None}$'
        with pytest.raises(ValueError, match=r'^AnisotropicL2Affinity needs Query\.selection .*' + message):
            memory.AnisotropicL2Affinity()(make_query(selection=selection), make_entry().key, shrinkage)


def test_objects_to_remove_are_checked_and_keys_are_shared_by_default():
    slots = memory.SlotMemory(selector=memory.FIFOSelector())
    entry = make_entry(objects=3)
    state = slots.write(slots.init(entry), entry)
    with pytest.raises(ValueError, match=r'^expected indices of objects in 0\.\.2, got \[1, 3\]$'):
        state.remove_objects([3, 1])
    with pytest.raises(
        ValueError, match=r'^at least one object must be left: to forget all begin with a new state$'
    ):
        state.remove_objects([0, 1, 2])
    left = state.remove_objects([0, 1])
    assert torch.equal(left.value, state.value[:, 2:]) and torch.equal(left.key, state.key)
    assert state.add_objects(2).value.shape[1] == 5 and torch.equal(state.add_objects(2).key, state.key)
    for plain in (memory.MemoryState.remove_objects(state, [0, 1]), memory.MemoryState.add_objects(state, 2)):
        assert torch.equal(plain.key, state.key)


@pytest.mark.parametrize('memory_class', memory.MEMORIES, ids=lambda c: c.__name__)
def test_a_state_keeps_its_seeds(memory_class):
    entry = make_entry(batch=2, shrinkage=True)
    assert build_memory(memory_class).init(entry, (3, 4)).seeds == (3, 4)
