"""Exported graphs on ONNX Runtime and OpenVINO give what torch gives; skipped where these are missing."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers.export_cases import CASES
from helpers.vos_cases import SquaresVideo, tiny_config, tiny_model
from mmengine.config import Config

pytest.importorskip('onnx', reason="needs the extra 'export'")
pytest.importorskip('onnxruntime', reason="needs the extra 'export'")

from mmstremn.export import OnnxSegmentor, OpenVINOSegmentor, export


@pytest.mark.parametrize('runtime', ['onnx', 'openvino'])
@pytest.mark.parametrize('name', CASES)
def test_streams_equal_those_of_torch(name, runtime, tmp_path):
    if runtime == 'openvino':
        pytest.importorskip('openvino', reason="needs the extra 'openvino'")
    model = tiny_model(**CASES[name])
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    config = Config(dict(model=tiny_config(**CASES[name])))
    folder = export(config, tmp_path / 'weights.pth', runtime, tmp_path / 'out')
    exported = dict(onnx=OnnxSegmentor, openvino=OpenVINOSegmentor)[runtime](folder, threads=1)
    for size, appear in (((56, 70), (0, 3)), ((48, 64), (0,))):
        video = SquaresVideo(9, size, appear)
        ours, theirs = (each.start(video.frame(0), video.mask(0)) for each in (exported, model))
        for index in range(1, 9):
            masks = video.mask(index) if index in (*appear, 6) else None
            found = ours.probabilities(video.frame(index), masks)
            expected = theirs.probabilities(video.frame(index), masks).numpy()
            difference = np.abs(found - expected).max()
            assert difference < 1e-3
            apart = np.diff(np.sort(expected, 0)[-2:], axis=0)[0] > 2 * difference  # no tie
            assert np.array_equal(found.argmax(0)[apart], expected.argmax(0)[apart])
        held = ours.slots.tensors['written_at']
        assert np.array_equal(held, theirs.state.written_at.numpy()[:, :, : held.shape[2]])
    assert found.std() > 0.01  # it says something


def test_contract_describes_the_graphs(tmp_path):
    export(Config(dict(model=tiny_config(**CASES['shipped']))), None, out=tmp_path)
    contract = json.loads((tmp_path / 'contract.json').read_text())
    assert contract['memory']['num_slots'] == 3 and contract['memory']['every'] == [2]
    assert contract['graphs']['key']['inputs']['image']['shape'] == [1, 3, 'height', 'width']
    assert contract['graphs']['decode']['outputs']['logits']['shape'] == [1, '1+objects', 'height', 'width']
    (tmp_path / 'value.onnx').unlink()
    with pytest.raises(FileNotFoundError, match=r'value\.onnx'):
        OnnxSegmentor(tmp_path)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(memory=dict(type='TwoLevelMemory')), 'TwoLevelMemory is not supported'),
        (dict(memory=dict(type='SlotMemory', selector=dict(type='RandomSelector'))), 'RandomSelector'),
        (dict(test_time=dict(flip=True)), 'test_time'),
    ],
)
def test_what_is_not_supported_is_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(Config(dict(model=tiny_config(**change))), None, out=tmp_path / 'out')
    with pytest.raises(ValueError, match="'tflite' is not supported, expected 'onnx' or 'openvino'"):
        export('vos/stremn_r18.py', None, to='tflite', out=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_graphs_of_one_runtime_are_refused_by_the_other(tmp_path):
    pytest.importorskip('openvino', reason="needs the extra 'openvino'")
    folder = export(Config(dict(model=tiny_config())), None, 'openvino', tmp_path / 'out')
    assert not list(folder.glob('*.onnx')) and (folder / 'key.bin').is_file()
    with pytest.raises(ValueError, match=r'key\.xml: OnnxSegmentor reads \.onnx'):
        OnnxSegmentor(folder)


def test_a_missing_openvino_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mmstremn\[openvino\]'"):
        export(Config(dict(model=tiny_config())), None, 'openvino', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_bad_frames_are_refused(tmp_path):
    stream = OnnxSegmentor(export(Config(dict(model=tiny_config())), None, out=tmp_path)).start(
        np.zeros((32, 48, 3), np.uint8)
    )
    with pytest.raises(TypeError, match='uint8'):
        stream.step(np.zeros((32, 48, 3)))
    with pytest.raises(ValueError, match='began with'):
        stream.step(np.zeros((48, 48, 3), np.uint8))
