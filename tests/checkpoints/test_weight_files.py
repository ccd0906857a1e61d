"""Weights that are shared: published small, and taken as safetensors wherever a checkpoint is taken."""

import json
import re
from unittest.mock import patch

import pytest
import torch
from helpers.runs import ROOT, SMALL_VOS, run_tool
from mmengine.config import Config
from safetensors import safe_open
from safetensors.torch import load_file

from mmstremn.apis import init_segmentor
from mmstremn.apis.model_names import resolve_model
from mmstremn.checkpoints.matching import fitting_weights, match
from mmstremn.checkpoints.reading import check_checkpoint_file, read_checkpoint
from mmstremn.checkpoints.weight_files import publish, write_weights
from mmstremn.registry import build

PUBLISH = 'model_converters/publish_model'


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(3)
    return init_segmentor(SMALL_VOS, device='cpu')


@pytest.fixture
def checkpoint(model, tmp_path):
    """A file as a training leaves it."""
    path = tmp_path / 'iter_7.pth'
    state = {f'module.{key}': value for key, value in model.state_dict().items()}
    torch.save(
        dict(meta=dict(iter=7, cfg='a = "/home/me"'), state_dict=state, optimizer=dict(state=torch.zeros(9))),
        path,
    )
    return path


def test_published_weights_are_small_and_load_into_the_model(checkpoint, model, tmp_path):
    target, output = tmp_path / 'new/model.safetensors', tmp_path / 'output'
    assert run_tool(PUBLISH, [checkpoint, target, '--half'], output=output) == 0
    assert f'{target}: {target.stat().st_size:,} bytes, SHA-256 ' in output.read_text()
    numbers = sum(value.numel() for value in model.state_dict().values())
    assert target.stat().st_size < 2 * numbers + 200 * len(model.state_dict()) + 1000
    assert {value.dtype for value in load_file(target).values()} <= {torch.half, torch.int64}
    loaded = init_segmentor(SMALL_VOS, target, 'cpu').state_dict()
    for key, value in model.state_dict().items():
        assert loaded[key].dtype == value.dtype
        torch.testing.assert_close(loaded[key], value.half().to(value.dtype), rtol=0, atol=0)


def test_published_weights_name_no_place_of_the_machine(checkpoint, tmp_path):
    publish(checkpoint, tmp_path / 'model.safetensors')
    with safe_open(tmp_path / 'model.safetensors', 'pt') as file:
        meta = json.loads(file.metadata()['meta'])
    assert meta['iterations'] == 7 and len(meta['source_sha256']) == 64
    assert '/' not in json.dumps(meta)
    assert 'optimizer' not in torch.load(_as_pth(checkpoint, tmp_path))


def _as_pth(checkpoint, folder):
    publish(checkpoint, folder / 'model.pth')
    return folder / 'model.pth'


def test_safetensors_of_another_shape_are_refused_by_key(checkpoint, model, tmp_path):
    state = dict(model.state_dict(), **{'decoder.predict.bias': torch.zeros(5)})
    write_weights(tmp_path / 'other.safetensors', state, {})
    with pytest.raises(
        RuntimeError, match=r'other.safetensors.* decoder.predict.bias \(5,\) instead of \(1,\)'
    ):
        init_segmentor(SMALL_VOS, tmp_path / 'other.safetensors', 'cpu')


def test_the_tools_test_and_train_from_safetensors(checkpoint, tmp_path):
    publish(checkpoint, tmp_path / 'model.safetensors')
    for name in ('model.safetensors', 'iter_7.pth'):
        outputs = ['--work-dir', tmp_path / name.split('.')[0], '--out', tmp_path / f'{name}.json']
        assert run_tool('test', [SMALL_VOS, tmp_path / name, *outputs]) == 0
    one, other = (
        json.loads((tmp_path / f'{name}.json').read_text()) for name in ('model.safetensors', 'iter_7.pth')
    )
    assert {k: v for k, v in one.items() if 'fps' not in k} == {
        k: v for k, v in other.items() if 'fps' not in k
    }
    options = [
        f'load_from={tmp_path / "model.safetensors"}',
        'train_cfg.max_iters=1',
        'optim_wrapper.optimizer.lr=0',
    ]
    options += ['optim_wrapper.optimizer.weight_decay=0']
    assert run_tool('train', [SMALL_VOS, '--work-dir', tmp_path / 'tuned', '--cfg-options', *options]) == 0
    tuned = torch.load(tmp_path / 'tuned/iter_1.pth', weights_only=False)['state_dict']
    given = load_file(tmp_path / 'model.safetensors')
    for key in ('decoder.predict.weight', 'key_encoder.key.weight'):
        torch.testing.assert_close(tuned[key], given[key], rtol=0, atol=0)


def test_bad_files(checkpoint, tmp_path):
    cut = tmp_path / 'cut.safetensors'
    cut.write_bytes(checkpoint.read_bytes()[:100])
    for check in (check_checkpoint_file, read_checkpoint):
        with pytest.raises(ValueError, match=r'cut.safetensors: expected a safetensors file'):
            check(str(cut))
        with pytest.raises(FileNotFoundError, match=r'none.safetensors: no such file'):
            check(str(tmp_path / 'none.safetensors'))


def test_what_cannot_be_published(checkpoint, tmp_path, model):
    with pytest.raises(FileNotFoundError, match=r'none.pth: no such file'):
        publish(tmp_path / 'none.pth', tmp_path / 'a.safetensors')
    with pytest.raises(FileExistsError, match=r'iter_7.pth: the file exists'):
        publish(checkpoint, checkpoint)
    with pytest.raises(
        ValueError, match=r"a.bin: expected a file name that ends in '.pth' or '.safetensors'"
    ):
        publish(checkpoint, tmp_path / 'a.bin')
    torch.save(dict(state_dict=dict(model.state_dict(), huge=torch.tensor(1e6))), tmp_path / 'huge.pth')
    with pytest.raises(ValueError, match=r'huge.pth: huge is not finite in half precision'):
        publish(tmp_path / 'huge.pth', tmp_path / 'huge.safetensors', half=True)
    assert not (tmp_path / 'huge.safetensors').exists()
    publish(tmp_path / 'huge.pth', tmp_path / 'huge.safetensors')
    torch.save(dict(state_dict=dict(a=1)), tmp_path / 'none.pth')
    with pytest.raises(
        ValueError, match=r"none.pth: expected a checkpoint with weights .* under 'state_dict'"
    ):
        publish(tmp_path / 'none.pth', tmp_path / 'none.safetensors')


@pytest.mark.parametrize(
    'config, file',
    [
        ('shipped_stremn', 'stremn_r18'),
        ('absence_head', 'stremn_r18_presence'),
        ('stremn_r18_v2', 'stremn_r18_v2'),
    ],
)
def test_the_shipped_weights_fit_their_config_and_size(config, file):
    path = ROOT / f'weights/{file}.safetensors'
    assert path.stat().st_size <= 16e6
    model = init_segmentor(ROOT / f'configs/vos/{config}.py', path, 'cpu')
    assert model.value_encoder.value_channels == 256
    assert Config.fromfile(ROOT / f'configs/vos/{config}.py').model.backbone.model_name == 'resnet18'


def test_the_weights_with_a_presence_head_are_the_others_and_the_head():
    plain, more = (
        load_file(ROOT / f'weights/{file}.safetensors') for file in ('stremn_r18', 'stremn_r18_presence')
    )
    assert all(torch.equal(more[name], tensor) for name, tensor in plain.items())
    assert {name.partition('.')[0] for name in more.keys() - plain.keys()} == {'presence'}


@pytest.mark.parametrize('memory, paper', [('TwoLevelMemory', 'xmem'), ('CutieMemory', 'cutie_base')])
def test_memories_that_lack_weights_name_the_public_ones(memory, paper):
    """Where the shipped weights, or none, are given to a memory that has parameters of its own."""
    message = rf'Weights with a {memory}: .* with vos/{paper}_official\.py \(docs/converters\.md\)'
    model = build(dict(type='TimmBackbone', model_name='test_resnet', strides=(4,)))
    more = dict(sensory_memory=dict(type='SensoryMemory')) if memory == 'CutieMemory' else {}
    model.memory = build(dict(type=memory, **more))
    others = {key: value for key, value in model.state_dict().items() if not key.startswith('memory.')}
    assert re.search(message, match(others, model).message)
    with pytest.raises(RuntimeError, match=message):
        fitting_weights(others, model, allow_missing=False)
    with pytest.raises(ValueError, match=message):
        resolve_model(f'vos/{paper}_official.py')
    del model.memory
    assert match({'a': torch.ones(1)}, model).message and 'Weights with' not in match({}, model).message


def test_weights_of_another_memory_are_said_and_left_out(tmp_path):
    path, config = tmp_path / 'a.pth', Config.fromfile(SMALL_VOS)
    torch.save(init_segmentor(config, device='cpu').state_dict() | {'memory.selector.a': torch.ones(1)}, path)
    said = []
    with patch('mmstremn.apis.inference.print_log', lambda line, *_: said.append(line)):
        init_segmentor(config, path, 'cpu')
        init_segmentor(config, device='cpu')
    assert 'trained with another memory, of which 1 weights are left out: memory.selector.a' in said[0]
    assert said[1].endswith('no checkpoint, its weights are random') and len(said) == 2
    torch.save(torch.load(path) | {'decoder.a': torch.ones(1)}, path)
    with pytest.raises(RuntimeError, match=r'2 keys unexpected: decoder\.a, memory\.selector\.a'):
        init_segmentor(config, path, 'cpu')
