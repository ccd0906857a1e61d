"""Hundreds of damaged files of streams: each is refused with a ValueError that names it, or goes on with
finite numbers."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.damaged_files import contents, damaged
from helpers.predictor_cases import tiny_predictor
from helpers.vos_cases import SquaresVideo, tiny_model
from safetensors.torch import save

FIFO = dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'))
MODELS = {
    'slots': dict(memory=dict(type='SlotMemory', num_slots=2)),
    'own keys': dict(memory=dict(type='GrowingMemory', keep_last=True, per_object_key=True)),
    'xmem': dict(memory=dict(type='TwoLevelMemory', capacity=512)),
    'egm': dict(memory=dict(type='GraphMemory')),
    'ntm': dict(memory=dict(type='NTMMemory', num_slots=2)),
    'convlstm': dict(memory=dict(type='ConvLSTMMemory', hidden_channels=8, kernel=3)),
    'merged': dict(memory=FIFO, test_time=dict(flip=True)),
}
PREDICTORS = {'slots': FIFO, 'e3d': dict(type='E3DLSTMMemory', hidden_channels=4, kernel=3, history=2)}
VIDEO = SquaresVideo(7, size=(32, 48), appear=(0, 2))
CASES = 40


def begin(model):
    """A stream of three frames, with a second object in the last."""
    stream = model.start(VIDEO.frame(0), VIDEO.mask(0))
    for index in (1, 2):
        stream.step(VIDEO.frame(index), VIDEO.mask(index) if index == 2 else None)
    return stream


def go_on(stream):
    """The probabilities of three more frames, of which one corrects an object."""
    for index in (3, 4, 5):
        masks = np.where(VIDEO.mask(index) == 3, stream.object_ids[0], 0) if index == 4 else None
        yield stream.probabilities(VIDEO.frame(index), masks)


def outcome(load, path, steps) -> str:
    try:
        stream = load(str(path))
    except ValueError as error:
        assert str(path) in str(error)
        return 'refused'
    for result in steps(stream):
        assert torch.isfinite(result).all()
    return 'goes on'


def sweep(stream, load, steps, path) -> Counter:
    stream.save(str(path))
    data, results = path.read_bytes(), Counter()
    for what, changed in damaged(data, CASES):
        path.write_bytes(changed)
        try:
            results[outcome(load, path, steps)] += 1
        except Exception as error:
            raise AssertionError(f'{what}: {type(error).__name__}: {error}') from error
    path.write_bytes(data)
    assert outcome(load, path, steps) == 'goes on'
    return results


@pytest.mark.parametrize('config', MODELS.values(), ids=MODELS.keys())
def test_damaged_streams_of_segmentation(config, tmp_path):
    model = tiny_model(seed=1, **config).eval()
    results = sweep(begin(model), model.load_stream, go_on, tmp_path / 'stream.safetensors')
    assert results['refused'] > 0.7 * CASES


def frames_of(stream):
    frame = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    return [stream.step(given) for given in (None, frame, None)]


@pytest.mark.parametrize('memory', PREDICTORS.values(), ids=PREDICTORS.keys())
def test_damaged_streams_of_prediction(memory, tmp_path):
    model = tiny_predictor(memory)
    stream = model.start(torch.rand(1, 16, 16))
    stream.step()
    results = sweep(stream, model.load_stream, frames_of, tmp_path / 'stream.safetensors')
    assert results['refused'] > 0.7 * CASES


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda about, tensors: about.pop('index'), 'index: expected an integer of at least 1, got None'),
        (lambda about, tensors: about.pop('kind'), 'kind: expected what its model is like, got None'),
        (lambda about, tensors: about['kind'].pop('stride'), 'kind: expected stride'),
        (lambda about, tensors: about.update(object_ids=[]), 'object_ids: expected those of the state'),
        (lambda about, tensors: about.update(object_ids=[3, 3]), 'different object_ids'),
        (lambda about, tensors: about.update(object_ids=[3]), 'births: expected .* for each of 1 objects'),
        (lambda about, tensors: about.update(size=[64, 48]), r'grid: expected \(4, 3\), got \(2, 3\)'),
        (lambda about, tensors: about.update(size=[30000, 30000]), '30000 x 30000 pixels are too many'),
        (lambda about, tensors: about['state'].update(grid=[3, 2]), r'grid: expected \(2, 3\), got \(3, 2\)'),
        (lambda about, tensors: about['state'].update(step='3'), 'step: expected an integer'),
        (
            lambda about, tensors: about['state'].update(seeds=None),
            r'step 3 and seeds \[0\], got 3, None',
        ),
        (lambda about, tensors: about['state'].update(more=1), 'state: unknown part more'),
        (lambda about, tensors: tensors.pop('value'), "tensor 'value': expected torch.float32"),
        (lambda about, tensors: tensors.update(more=torch.zeros(1)), "tensor 'more': expected none"),
        (
            lambda about, tensors: tensors.update(key=tensors['key'].half()),
            r"tensor 'key': expected torch.float32 \(1, 1, 2, 6, 8\), got torch.float16",
        ),
        (
            lambda about, tensors: tensors['value'].fill_(float('nan')),
            "tensor 'value' holds numbers that are not finite",
        ),
        (
            lambda about, tensors: tensors['written_at'].fill_(99),
            "tensor 'written_at': expected numbers of frames from -1 to 3, got 99 to 99",
        ),
        (
            lambda about, tensors: tensors['key'].mul_(3e38),
            'it leads to numbers that are not finite',
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(change, message, tmp_path):
    path, model = tmp_path / 'stream.safetensors', tiny_model(seed=1, memory=FIFO).eval()
    begin(model).save(str(path))
    about, tensors = contents(path.read_bytes())
    about.pop('sha256')
    change(about, tensors)
    path.write_bytes(save(tensors, {'stream': json.dumps(about)}))
    with pytest.raises(ValueError, match=rf"stream.safetensors' is not a sound stream: .*{message}"):
        model.load_stream(str(path))


def test_one_changed_number_is_noticed(tmp_path):
    path, model = tmp_path / 'stream.safetensors', tiny_model(seed=1, memory=FIFO).eval()
    begin(model).save(str(path))
    about, tensors = contents(path.read_bytes())
    tensors['value'].view(-1)[5] += 1
    path.write_bytes(save(tensors, {'stream': json.dumps(about)}))
    with pytest.raises(ValueError, match=r"stream.safetensors' is not a sound stream: it was changed"):
        model.load_stream(str(path))


@pytest.mark.parametrize('config', MODELS.values(), ids=MODELS.keys())
def test_streams_of_older_versions_load(config, tmp_path):
    """They have no checksum, no options and no frame with which the state began."""
    path, model = tmp_path / 'stream.safetensors', tiny_model(seed=1, **config).eval()
    stream = begin(model)
    stream.save(str(path))
    about, tensors = contents(path.read_bytes())
    for key in ('sha256', 'began'):
        about.pop(key, None)
    for key in ('options', 'short_side'):
        about['kind'].pop(key)
    for own in about.get('streams', ()):
        own.pop('began')
    path.write_bytes(save(tensors, {'stream': json.dumps(about)}))
    results = zip(go_on(model.load_stream(str(path))), go_on(stream), strict=True)
    assert all(torch.equal(loaded, direct) for loaded, direct in results)


def test_a_killed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path, model = tmp_path / 'stream.safetensors', tiny_model(seed=1, memory=FIFO).eval()
    stream = begin(model)
    stream.save(str(path))
    before = path.read_bytes()

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    stream.step(VIDEO.frame(3))
    with pytest.raises(OSError, match='disk full'):
        stream.save(str(path))
    assert path.read_bytes() == before
