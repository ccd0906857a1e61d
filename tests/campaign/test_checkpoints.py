"""Checkpoints that are damaged, malformed or of other models: the converters, ``init_segmentor``,
``tools/test.py`` and ``publish_model.py`` refuse them with the file's name, or what they make is finite."""

import io
import runpy

import numpy as np
import pytest
import torch
from helpers.official_cases import blank_weights
from helpers.runs import ROOT
from helpers.vos_cases import tiny_config, tiny_model
from mmengine.config import Config
from safetensors.torch import save

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints import convert as converters
from mmstremn.checkpoints.public_models import PUBLIC, run
from mmstremn.checkpoints.weight_files import publish

JUNK = (None, 7, 'x', [1.0], {}, dict(a=1), np.zeros(3), torch.tensor(float('nan')), torch.zeros(2, 0))
KINDS = torch.float16, torch.int64, torch.bool, torch.complex64


def edited(weights, rng) -> tuple[str, dict]:
    """A state dict with one mistake, and which it is."""
    weights, names = dict(weights), sorted(weights)
    one, other = (names[place] for place in rng.integers(len(names), size=2))
    way = int(rng.integers(8))
    if way == 0:
        del weights[one]
    elif way == 1:
        weights[one] = JUNK[rng.integers(len(JUNK))]
    elif way == 2:
        weights[one], weights[other] = weights[other], weights[one]
    elif way == 3:
        weights[f'{one}x'] = weights.pop(one)
    elif way == 4:
        weights[one] = weights[one].to(KINDS[rng.integers(len(KINDS))])
    elif way == 5:
        weights[one] = torch.full_like(weights[one].float(), [float('nan'), float('inf')][rng.integers(2)])
    elif way == 6:
        weights[one] = weights[one][None].expand(2, *weights[one].shape)
    else:
        weights[int(rng.integers(9))] = weights.pop(one)
    return f'way {way}, {one}', weights


def damaged(weights, seed) -> tuple[str, bytes]:
    """A file of ``torch.save`` with one mistake, and which it is."""
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    what, content = edited(weights, rng)
    key = ('state_dict', 'network', 'model', None)[rng.integers(4)]
    if rng.integers(3):
        torch.save(content if key is None else {key: content}, buffer)
        return what, buffer.getvalue()
    torch.save(weights, buffer)
    data = bytearray(buffer.getvalue())
    if rng.integers(2):
        return 'cut', bytes(data[: rng.integers(len(data))])
    for _ in range(3):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return 'bits', bytes(data)


SOURCES = dict(stm='stm', stcn='stcn', xmem='xmem', cutie='cutie_small')


def test_the_sources_are_those_of_all_converters():
    assert set(SOURCES) == set(PUBLIC)


@pytest.mark.parametrize('name', SOURCES)
def test_sources_of_the_converters(name, size, tmp_path, monkeypatch):
    """With weights that are zero, so that files are small; a harmless change may be converted."""
    with torch.device('meta'):
        model = converters.build_model(f'vos/{SOURCES[name]}_official.py')
    monkeypatch.setattr(converters, 'build_model', lambda config: model)
    written = []
    monkeypatch.setattr(
        converters, 'write_weights', lambda path, weights, meta: written.append(weights) or ''
    )
    source, target, weights = tmp_path / 'source.pth', tmp_path / 'target.pth', blank_weights(SOURCES[name])
    for seed in range(size(8, 300)):
        what, data = damaged(weights, seed)
        source.write_bytes(data)
        try:
            run(name, [str(source), str(target)])
        except SystemExit as error:
            assert str(source) in str(error), what
        for converted in written:
            assert all(tensor.isfinite().all() for tensor in converted.values()), what
        written.clear()


@pytest.fixture(scope='module')
def config():
    return Config(dict(model=tiny_config(), default_scope='mmstremn'))


def refused_or_finite(config, path, what):
    try:
        model = init_segmentor(config, path, 'cpu')
    except (ValueError, RuntimeError) as error:
        assert str(path) in str(error), f'{what}: {error}'
        return True
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values()), what
    return False


def test_damaged_checkpoints(config, size, tmp_path):
    weights, path = tiny_model().state_dict(), tmp_path / 'a.pth'
    refused = 0
    for seed in range(size(20, 1000)):
        what, data = damaged(weights, seed)
        path.write_bytes(data)
        refused += refused_or_finite(config, path, what)
    assert refused > size(10, 700)


OTHERS = dict(
    widths=dict(key_channels=16),
    values=dict(value_channels=8),
    decoder=dict(decoder=dict(type='MaskDecoder', channels=(8, 8, 8))),
    backbone=dict(backbone='test_convnext'),
    memory=dict(memory=dict(type='ConvLSTMMemory', kernel=3)),
    selector=dict(memory=dict(type='SlotMemory', selector=dict(type='FIFOSelector'))),
    presence=dict(presence=dict(type='PresenceHead')),
)


@pytest.mark.parametrize('form', ['pth', 'safetensors'])
@pytest.mark.parametrize('name', [*OTHERS, 'stcn', 'timm', 'empty', 'text'])
def test_checkpoints_of_other_models(name, form, config, tmp_path):
    if name in OTHERS:
        weights = tiny_model(**OTHERS[name]).state_dict()
    elif name == 'stcn':
        weights = blank_weights('stcn')
    else:
        weights = dict(timm={'conv1.weight': torch.zeros(3)}, empty={}, text={'a': 'b'})[name]
    path = tmp_path / f'{name}.{form}'
    if form == 'pth':
        torch.save(weights, path)
    elif name == 'text':
        path.write_text('weights')
    else:
        path.write_bytes(save({key: tensor.clone().contiguous() for key, tensor in weights.items()}))
    assert refused_or_finite(config, path, name)


def test_what_is_published_is_finite(size, tmp_path):
    weights, source, target = tiny_model().state_dict(), tmp_path / 'a.pth', tmp_path / 'b.pth'
    for seed in range(size(30, 1000)):
        what, data = damaged(weights, seed)
        source.write_bytes(data)
        try:
            publish(source, target)
        except ValueError as error:
            assert str(source) in str(error), f'{what}: {error}'
            assert not target.exists()
        else:
            published = torch.load(target, weights_only=True)['state_dict']
            assert all(isinstance(tensor, torch.Tensor) for tensor in published.values())
            target.unlink()


@pytest.mark.parametrize('name', ['key_channels', 'nan'])
def test_the_test_tool_refuses_another_model_before_any_frame(name, tmp_path, monkeypatch):
    monkeypatch.setattr('mmstremn.models.VOSegmentor.predict', lambda *args: pytest.fail('a frame is read'))
    config, path = tmp_path / 'config.py', tmp_path / 'other.pth'
    weights = tiny_model(**(dict(key_channels=16) if name == 'key_channels' else {})).state_dict()
    if name == 'nan':
        weights['decoder.predict.bias'].fill_(float('nan'))
    torch.save(dict(state_dict=weights), path)
    config.write_text(
        f'_base_ = {str(ROOT / "tests/data/small_vos.py")!r}\n'
        f'model = dict(_delete_=True, **{tiny_config()!r})\nexperiment_name = {tmp_path.name!r}\n'
    )
    with pytest.raises((RuntimeError, ValueError), match=r'other\.pth: '):
        runpy.run_path(str(ROOT / 'tools/test.py'))['main'](
            [str(config), str(path), '--work-dir', str(tmp_path)]
        )
