"""What is done once however many objects there are, and what is done for a few of them at a time."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.memory_cases import assert_equal_states
from helpers.vos_cases import make_batch, make_clip, tiny_model

from mmstremn.models.layers import ResidualBlock
from mmstremn.models.segmentation import object_chunks
from mmstremn.models.segmentation.object_chunks import ObjectChunks

SIZE = (40, 56)
FRAMES = 4
TOLERANCE = dict(rtol=1e-6, atol=1e-6)
OWN_KEYS = dict(type='SlotMemory', num_slots=3, per_object_key=True)


def stripes(objects):
    return (np.arange(SIZE[1]) * (objects + 1) // SIZE[1]).astype(np.uint8)[None].repeat(SIZE[0], 0)


def segment(model, objects=5):
    """Ids of the last of ``FRAMES`` frames of noise, the state after it, and the logits of every call of the
    decoder."""
    rng, outputs = np.random.default_rng(0), []
    decoder = model.decoder.register_forward_hook(lambda module, inputs, output: outputs.append(output[0]))
    stream = model.eval().start(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), stripes(objects))
    for _ in range(FRAMES - 1):
        ids = stream.step(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    decoder.remove()
    return ids, stream.state, outputs


@pytest.mark.parametrize('objects', [1, 5])
def test_the_frame_is_encoded_and_compared_once_for_all_objects(objects):
    model, calls, shapes = tiny_model(), Counter(), set()
    parts = (
        'key_encoder.backbone',
        'key_encoder.key',
        'memory.reader.affinity',
        'value_encoder.backbone',
        'decoder',
    )
    for name in parts:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.update([name]))

    def keep_shapes(module, inputs, output):
        shapes.update(tuple(tensor.shape[:2]) for tensor in output)

    model.memory.reader.affinity.register_forward_hook(keep_shapes)
    segment(model, objects)
    assert calls == {
        'key_encoder.backbone': FRAMES,
        'key_encoder.key': FRAMES,
        'memory.reader.affinity': FRAMES - 1,
        'value_encoder.backbone': FRAMES,
        'decoder': FRAMES - 1,
    }
    assert shapes == {(1, 1)}  # one row: the objects share it


@pytest.mark.parametrize('size', [1, 2, 3, 7])
@pytest.mark.parametrize('memory', [None, OWN_KEYS])
def test_chunks_change_nothing(size, memory):
    ids, state, whole = segment(tiny_model(memory))
    chunked_ids, chunked_state, parts = segment(tiny_model(memory, objects_at_once=size))
    assert len(parts) == len(whole) * -(-5 // size)
    assert max(part.shape[1] for part in parts) == min(size, 5)
    torch.testing.assert_close(chunked_ids, ids, rtol=0, atol=0)
    assert_equal_states(chunked_state, state, 1e-6)


def test_chunks_change_nothing_in_training():
    results = []
    for size in (None, 2):
        model = tiny_model(objects_at_once=size).train()
        data = make_batch(model, make_clip(0, objects=3), make_clip(1, objects=1))
        logits = model.clip_logits(**data)
        logits.square().mean().backward()
        gradients = [p.grad for p in model.value_encoder.parameters() if p.grad is not None]
        results.append((logits, torch.stack([gradient.norm() for gradient in gradients])))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)  # logits of up to 16
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-6)


def test_the_others_are_all_others():
    """Not those of its chunk only."""
    model, seen = tiny_model(objects_at_once=1), []
    model.value_encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1:3]))
    segment(model)
    assert len(seen) == 5 * FRAMES
    for own, others in seen[:5]:  # the first frame: stripes, one of this object and four of others
        assert others.sum() > 3 * own.sum()


class Limited:
    """Doubles tensors, but has no room for more than ``room`` objects."""

    def __init__(self, room):
        self.room, self.sizes = room, []

    def __call__(self, x):
        self.sizes.append(x.shape[1])
        if x.shape[1] > self.room:
            raise torch.OutOfMemoryError('out of memory')
        return 2 * x, None


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(object_chunks, 'print_log', lambda line, *_: lines.append(line))
    return lines


@torch.no_grad()
def test_chunks_are_halved_where_memory_is_short(warnings):
    chunks, limited, x = ObjectChunks(), Limited(room=2), torch.randn(2, 9, 3)
    doubled, nothing = chunks(limited, x)
    torch.testing.assert_close(doubled, 2 * x, rtol=0, atol=0)
    assert nothing is None
    assert limited.sizes == [9, 4, 2, 2, 2, 2, 1]
    limited.sizes.clear()
    chunks(limited, x)
    assert limited.sizes == [2, 2, 2, 2, 1]  # remembered
    assert len(warnings) == 1
    assert '2 objects at once' in warnings[0]


def test_memory_that_suffices_for_no_object_or_no_training_is_an_error():
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError):
        ObjectChunks()(Limited(room=0), torch.randn(1, 5))
    with pytest.raises(torch.OutOfMemoryError):
        ObjectChunks()(Limited(room=2), torch.randn(1, 5))


def test_cpus_take_fewer_objects_of_large_frames(monkeypatch):
    monkeypatch.setattr(object_chunks, 'CPU_NUMBERS', 50)
    x, unlimited = torch.randn(1, 5, 10), Limited(room=5)
    ObjectChunks()(unlimited, x)  # with gradients everything is kept anyway
    with torch.no_grad():
        ObjectChunks()(unlimited, x)
        ObjectChunks()(unlimited, torch.randn(2, 5, 10))
        ObjectChunks()(unlimited, torch.randn(1, 2, 1000))
        ObjectChunks(4)(unlimited, x)
    assert unlimited.sizes == [5, 5, 2, 2, 1, 1, 1, 4, 1]


@pytest.mark.parametrize('out_channels', [3, 5])  # with a projected shortcut, and without
def test_what_objects_share_is_joined_as_if_repeated(out_channels):
    torch.manual_seed(0)
    block, x, shared = ResidualBlock(5, out_channels), torch.randn(2 * 3, 4, 6, 7), torch.randn(2, 1, 6, 7)
    repeated = torch.cat([x, shared.repeat_interleave(3, 0)], 1)
    torch.testing.assert_close(block.join(shared)(x), block(repeated), **TOLERANCE)


def test_what_objects_share_is_convolved_once_whatever_the_chunks():
    model, calls = tiny_model(objects_at_once=1), Counter()
    model.decoder.compress.register_forward_hook(lambda *_: calls.update(['compress']))
    segment(model)
    assert calls == {'compress': FRAMES - 1}


def test_a_model_goes_on_where_memory_is_short(warnings):
    ids, state, _ = segment(tiny_model())
    model = tiny_model()
    forward = model.value_encoder.forward

    def limited(image, masks, *more):
        if masks.shape[1] > 2:
            raise torch.OutOfMemoryError('out of memory')
        return forward(image, masks, *more)

    model.value_encoder.forward = limited
    limited_ids, limited_state, _ = segment(model)
    torch.testing.assert_close(limited_ids, ids, rtol=0, atol=0)
    assert_equal_states(limited_state, state, 1e-6)
    assert model.in_object_chunks.size == 2


def test_objects_at_once_is_checked():
    with pytest.raises(ValueError, match=r'VOSegmentor\.objects_at_once must be at least 1 or None, got 0'):
        tiny_model(objects_at_once=0)
