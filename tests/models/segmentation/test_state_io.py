"""States as data: saved, loaded, moved, forked, mapped; whatever the memory."""

import dataclasses
import json

import pytest
import torch
from helpers.memory_cases import assert_equal_states, build_memory, make_entry, make_query, run
from safetensors import safe_open
from torch.utils import _pytree as pytree

from mmstremn.memory import (
    MEMORIES,
    SELECTORS,
    AnisotropicL2Affinity,
    DenseReader,
    FIFOSelector,
    GrowingMemory,
    SlotMemory,
    SlotState,
)

from helpers.vos_cases import SquaresVideo, tiny_model  # isort: skip


def entry_for(memory, seed, **kwargs):
    return make_entry(seed, **dict(shrinkage=memory.needs_selection) | kwargs)


def query_for(memory, seed):
    return make_query(seed, selection=memory.needs_selection)


def begin(memory, length=7, seeds=(3,), **kwargs):
    with torch.no_grad():
        entries = [entry_for(memory, i, **kwargs) for i in range(length)]
        return run(memory, entries, [query_for(memory, i) for i in range(length)], seeds)[0]


def go_on(memory, state, length=6):
    readouts = []
    with torch.no_grad():
        for index in range(50, 50 + length):
            readout, state = memory.read(state, query_for(memory, index))
            state = memory.write(state, entry_for(memory, index))
            readouts.append(readout)
    return state, torch.stack(readouts)


ALL = pytest.mark.parametrize('memory_class', MEMORIES)


@ALL
def test_a_fork_goes_on_alone(memory_class):
    memory = build_memory(memory_class)
    state = begin(memory)
    fork, untouched = state.clone(), state.clone()
    go_on(memory, fork)
    assert_equal_states(state, untouched)
    first, second = go_on(memory, state)[1], go_on(memory, untouched)[1]
    assert torch.equal(first, second)


@ALL
def test_a_state_is_a_pytree(memory_class):
    state = begin(build_memory(memory_class))
    doubled = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor + tensor, state)
    assert type(doubled) is type(state)
    assert doubled.step == state.step
    for name, tensor in doubled.tensors().items():
        assert torch.equal(tensor, 2 * getattr(state, name))
    leaves, spec = pytree.tree_flatten(state)
    assert_equal_states(pytree.tree_unflatten(leaves, spec), state)
    assert sum(isinstance(leaf, torch.Tensor) for leaf in leaves) == len(state.tensors())


@ALL
def test_a_state_is_tensors_and_plain_values(memory_class):
    memory = build_memory(memory_class)
    state = begin(memory)
    plain = json.loads(json.dumps(state.plain()))
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    assert_equal_states(memory.state_class(**state.tensors(), **plain), state)
    assert state.nbytes == sum(t.numel() * t.element_size() for t in state.tensors().values())


@ALL
def test_a_state_moves(memory_class):
    memory = build_memory(memory_class)
    state = begin(memory)
    moved = state.to('meta')
    assert {tensor.device.type for tensor in moved.tensors().values()} == {'meta'}
    assert (moved.step, moved.births, moved.grid) == (state.step, state.births, state.grid)
    assert {tensor.device.type for tensor in state.tensors().values()} == {'cpu'}


def test_a_state_without_shrinkage_has_none_to_map():
    state = begin(build_memory(SlotMemory))
    assert state.shrinkage is None
    assert 'shrinkage' not in state.tensors()
    assert state.clone().shrinkage is None
    with_shrinkage = begin(build_memory(SlotMemory, reader=DenseReader()), shrinkage=True)
    assert 'shrinkage' in with_shrinkage.tensors()


def test_queries_and_entries_are_pytrees():
    entry = make_entry(shrinkage=True)
    moved = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.double(), entry)
    assert moved.key.dtype == moved.shrinkage.dtype == torch.float64
    assert moved.grid == entry.grid


def test_bytes_of_fixed_slots_stay_and_those_of_a_growing_memory_grow():
    sizes = {}
    for memory in (SlotMemory(3, FIFOSelector()).eval(), GrowingMemory().eval()):
        state, sizes[type(memory)] = begin(memory, 3), []
        for length in (0, 497):
            state, _ = go_on(memory, state, length) if length else (state, None)
            sizes[type(memory)].append(state.nbytes)
        assert state.step == 500
    assert sizes[SlotMemory][0] == sizes[SlotMemory][1]
    assert sizes[GrowingMemory][1] > 50 * sizes[GrowingMemory][0]


# Streams in files.


STREAMS = {
    'slots': dict(type='SlotMemory', num_slots=2),
    'random': dict(type='SlotMemory', num_slots=2, selector=dict(type='RandomSelector')),
    'own keys': dict(type='SlotMemory', num_slots=2, per_object_key=True),
    'anisotropic': dict(
        type='SlotMemory',
        num_slots=2,
        reader=dict(type='DenseReader', affinity=dict(type='AnisotropicL2Affinity')),
    ),
    'stcn': dict(type='GrowingMemory', every=2),
    'stm': dict(type='GrowingMemory', keep_last=True, per_object_key=True),
}


@pytest.mark.parametrize('memory', STREAMS.values(), ids=STREAMS.keys())
def test_a_saved_stream_goes_on_bit_by_bit(memory, tmp_path):
    """In another model with the same weights; an object is added after loading."""
    video = SquaresVideo(10, size=(37, 53), appear=(0, 2, 7))
    model = tiny_model(memory).eval()
    stream = model.start(video.frame(0), np_only(video, 0, 3), seed=5)
    for index in range(1, 5):
        stream.step(video.frame(index), np_only(video, index, 6) if index == 2 else None)
    path = str(tmp_path / 'stream.safetensors')
    stream.save(path)
    other = tiny_model(memory, seed=1).eval()
    other.load_state_dict(model.state_dict())
    loaded = other.load_stream(path)
    assert_equal_states(loaded.state, stream.state)
    assert (loaded.index, loaded.size, loaded.object_ids, loaded.seed) == (5, (37, 53), [3, 6], 5)
    for index in range(5, 10):
        given = np_only(video, index, 9) if index == 7 else None
        expected = stream.step(video.frame(index), given)
        assert torch.equal(loaded.step(video.frame(index), given), expected)
    assert_equal_states(loaded.state, stream.state)


def np_only(video, index, number):
    """The mask of one object."""
    mask = video.mask(index)
    return mask * (mask == number)


def saved(path, memory='slots'):
    video = SquaresVideo(2)
    stream = tiny_model(STREAMS[memory]).eval().start(video.frame(0), video.mask(0))
    stream.save(str(path))
    return stream


def test_a_file_holds_tensors_and_json_only(tmp_path):
    stream = saved(tmp_path / 'stream.safetensors')
    with safe_open(tmp_path / 'stream.safetensors', 'pt') as file:
        assert set(file.keys()) == set(stream.state.tensors())
        about = json.loads(file.metadata()['stream'])
    assert about['format'] == 'mmstremn.stream/1'
    assert about['kind']['memory'] == 'SlotMemory'
    assert about['object_ids'] == [3]


def test_a_stream_of_another_memory_is_refused(tmp_path):
    path = str(tmp_path / 'stream.safetensors')
    saved(path, 'stcn')
    with pytest.raises(
        ValueError, match=r"stream.safetensors' is .* with memory GrowingMemory, but .* is SlotMemory"
    ):
        tiny_model(STREAMS['slots']).load_stream(path)


@pytest.mark.parametrize(
    'other, message',
    [
        (dict(per_object_key=True), "per_object_key False, but this one's is True"),
        (dict(reader=STREAMS['anisotropic']['reader']), 'needs_selection False'),
    ],
)
def test_a_stream_of_a_memory_set_up_otherwise_is_refused(other, message, tmp_path):
    path = str(tmp_path / 'stream.safetensors')
    video = SquaresVideo(2, appear=(0, 0))
    tiny_model(STREAMS['slots']).start(video.frame(0), video.mask(0)).save(path)
    with pytest.raises(ValueError, match=rf"stream.safetensors'.*{message}"):
        tiny_model(STREAMS['slots'] | other).load_stream(path)


def test_a_stream_of_other_widths_is_refused(tmp_path):
    path = str(tmp_path / 'stream.safetensors')
    saved(path)
    with pytest.raises(ValueError, match=r"stream.safetensors'.* key_channels 8, but this one's is 12"):
        tiny_model(STREAMS['slots'], key_channels=12).load_stream(path)


OPTIONS = {
    'hidden channels': (
        dict(type='ConvLSTMMemory', hidden_channels=8, kernel=3),
        dict(hidden_channels=6),
        "memory.hidden_channels 8, but this one's is 6",
    ),
    'layers': (
        dict(type='STLSTMMemory', hidden_channels=8, kernel=3, layers=2),
        dict(layers=1),
        "memory.cells.1.type STLSTMCell, but this one's is None",
    ),
    'selector': (
        STREAMS['random'],
        dict(selector=dict(type='FIFOSelector')),
        "memory.selector.type RandomSelector, but this one's is FIFOSelector",
    ),
    'slots': (STREAMS['slots'], dict(num_slots=3), "memory.num_slots 2, but this one's is 3"),
    'every': (STREAMS['stcn'], dict(every=5), "memory.every 2, but this one's is 5"),
    'gates': (
        STREAMS['slots'],
        dict(gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')]),
        "memory.gates.1.type None, but this one's is KeepFirst",
    ),
}


@pytest.mark.parametrize('memory, change, message', OPTIONS.values(), ids=OPTIONS.keys())
def test_a_stream_of_other_options_is_refused(memory, change, message, tmp_path):
    path, video = str(tmp_path / 'stream.safetensors'), SquaresVideo(2)
    tiny_model(memory).eval().start(video.frame(0), video.mask(0)).save(path)
    with pytest.raises(ValueError, match=rf"stream.safetensors' is a stream of a model with {message}"):
        tiny_model(memory | change).load_stream(path)


def test_a_stream_of_another_short_side_is_refused(tmp_path):
    path, video = str(tmp_path / 'stream.safetensors'), SquaresVideo(2)
    tiny_model(short_side=32).eval().start(video.frame(0), video.mask(0)).save(path)
    with pytest.raises(ValueError, match=r"a model with short_side 32, but this one's is 24"):
        tiny_model(short_side=24).load_stream(path)


def test_what_matters_in_training_alone_may_differ(tmp_path):
    path, video = str(tmp_path / 'stream.safetensors'), SquaresVideo(2)
    memory = dict(type='SlotMemory', num_slots=3, train_slots=2, selector=dict(type='GumbelSelector'))
    tiny_model(memory).eval().start(video.frame(0), video.mask(0)).save(path)
    other = tiny_model(memory | dict(train_slots=3))
    other.memory.selector.temperature = 0.1  # as the hook leaves it
    assert other.load_stream(path).index == 1


def test_a_stream_without_an_object_is_saved(tmp_path):
    path, video, model = str(tmp_path / 'stream.safetensors'), SquaresVideo(4), tiny_model().eval()
    stream = model.start(video.frame(0))
    stream.save(path)
    loaded = model.load_stream(path)
    assert (loaded.state, loaded.index, loaded.object_ids) == (None, 1, [])
    for index in (1, 2, 3):
        mask = video.mask(index) if index == 2 else None
        assert torch.equal(loaded.step(video.frame(index), mask), stream.step(video.frame(index), mask))
    assert loaded.began == 2
    loaded.save(path)
    assert model.load_stream(path).began == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"stream file '.*none.safetensors' not found"):
        tiny_model().load_stream(str(tmp_path / 'none.safetensors'))


def test_other_safetensors_are_no_stream(tmp_path):
    from safetensors.torch import save_file

    save_file({'weight': torch.zeros(2)}, tmp_path / 'weights.safetensors')
    with pytest.raises(
        ValueError, match=r"weights.safetensors' is not a stream: expected format mmstremn.stream/1"
    ):
        tiny_model().load_stream(str(tmp_path / 'weights.safetensors'))


@pytest.mark.parametrize('content', [b'', b'no tensors here', bytes(100)], ids=['empty', 'text', 'zeros'])
def test_other_files_are_no_stream(content, tmp_path):
    (tmp_path / 'notes.txt').write_bytes(content)
    with pytest.raises(ValueError, match=r"notes.txt' is not a stream"):
        tiny_model().load_stream(str(tmp_path / 'notes.txt'))


def test_a_truncated_stream_is_no_stream(tmp_path):
    path = tmp_path / 'stream.safetensors'
    saved(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"stream.safetensors' is not a stream"):
        tiny_model(STREAMS['slots']).load_stream(str(path))


def test_every_state_class_is_a_dataclass_of_its_memory():
    for memory_class in MEMORIES:
        memory = build_memory(memory_class)
        assert dataclasses.is_dataclass(memory.state_class)
        assert type(begin(memory)) is memory.state_class


@pytest.mark.parametrize('selector', SELECTORS)
def test_weights_of_a_memory_hold_no_state(selector):
    """A stream leaves no trace in the module, so a checkpoint of a used model equals one of an unused."""
    memory = SlotMemory(2, build_memory(selector), reader=DenseReader(AnisotropicL2Affinity())).eval()
    before = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    with torch.no_grad():
        entries = [make_entry(i, shrinkage=True) for i in range(5)]
        run(memory, entries, [make_query(i, selection=True) for i in range(5)], (0,))
    after = memory.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not [name for name, value in vars(memory).items() if isinstance(value, (torch.Tensor, SlotState))]
