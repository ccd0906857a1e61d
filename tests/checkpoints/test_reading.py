"""Files that bring code: no path that takes a checkpoint runs it, and what mmengine writes is read."""

import http.server
import os
import pickle
import sys
import threading
import types
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from helpers.runs import DATA, SMALL_VOS, TINY, run_tool
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import Runner, load_checkpoint
from safetensors.torch import save_file

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.convert import read_public_weights
from mmstremn.checkpoints.reading import TRUST, read_checkpoint
from mmstremn.checkpoints.weight_files import publish
from mmstremn.engine import AtomicCheckpointHook
from mmstremn.models import TimmBackbone
from studies.shared import model_with_memory


class Code:
    """Unpickled, it makes a folder."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


class Attribute:
    """Unpickled, it is an attribute of a class that may be named."""

    def __init__(self, *path):
        self.path = path

    def __reduce__(self):
        return getattr, self.path


@pytest.fixture(autouse=True)
def modules_of_the_config(monkeypatch):
    monkeypatch.syspath_prepend(DATA)


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint that makes the folder ``ran`` beside it when its code runs."""
    path = tmp_path / 'hostile.pth'
    torch.save(dict(state_dict={}, meta=Code(tmp_path / 'ran')), path)
    return path


def tiny_runner(tmp_path, **settings):
    cfg = Config.fromfile(TINY)
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), **settings))
    return Runner.from_cfg(cfg)


def resume(path):
    tiny_runner(path.parent, resume=True, load_from=str(path)).train()


def resume_averages(path):
    tiny_runner(path.parent, resume=True, load_from=str(path), custom_hooks=[dict(type='EMAHook')]).train()


def runner_loads(path):
    tiny_runner(path.parent).load_checkpoint(str(path))


def pretrained(path):
    BaseModule(init_cfg=dict(type='Pretrained', checkpoint=str(path))).init_weights()


def published_while_training(path):
    AtomicCheckpointHook(published_keys=['state_dict'], interval=1)._publish_model(None, str(path))


def compared(path):
    model_with_memory(Config.fromfile(SMALL_VOS), dict(type='GrowingMemory'), str(path))


PATHS = dict(
    init_segmentor=lambda path: init_segmentor(SMALL_VOS, path, 'cpu'),
    resume=resume,
    resume_averages=resume_averages,
    runner_loads=runner_loads,
    mmengine_function=lambda path: load_checkpoint(torch.nn.Linear(1, 1), str(path)),
    pretrained=pretrained,
    publish=lambda path: publish(path, path.with_name('out.safetensors')),
    published_while_training=published_while_training,
    convert=read_public_weights,
    comparison=lambda path: model_with_memory(
        Config.fromfile(SMALL_VOS), dict(type='GrowingMemory'), str(path)
    ),
    backbone=lambda path: TimmBackbone('test_resnet', checkpoint=str(path)),
)


@pytest.mark.parametrize('name', PATHS)
def test_no_path_runs_the_code_of_a_file(name, hostile):
    with pytest.raises(ValueError, match=r'hostile\.pth'):
        PATHS[name](hostile)
    assert not hostile.with_name('ran').exists()


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_plain_pickles_are_refused_in_one_line(tmp_path, protocol):
    path = tmp_path / 'weights.pkl'
    path.write_bytes(pickle.dumps(Code(tmp_path / 'ran'), protocol))
    with pytest.raises(ValueError, match=r'weights\.pkl: refused, .*If you trust') as refused:
        read_checkpoint(path)
    assert 'weights_only' not in str(refused.value) and '\n' not in str(refused.value)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_tools_refuse_and_say_what_to_do(tool, hostile, tmp_path):
    argv = [TINY, '--resume', hostile] if tool == 'train' else [TINY, hostile]
    assert run_tool(tool, [*argv, '--work-dir', tmp_path / 'work'], output=tmp_path / 'output') != 0
    said = (tmp_path / 'output').read_text()
    assert f'{hostile}: refused' in said and TRUST in said and 'publish_model.py' in said
    assert not (tmp_path / 'ran').exists()


def test_a_trusted_file_is_read_with_a_warning_and_converts(tmp_path, monkeypatch):
    path = tmp_path / 'old.pth'
    torch.save(dict(state_dict=dict(a=torch.ones(2)), meta=dict(cfg=Config(dict(b=1)))), path)
    with pytest.raises(ValueError, match=r'old\.pth: refused.*mmengine\.config'):
        publish(path, tmp_path / 'new.safetensors')
    monkeypatch.setenv(TRUST, '1')
    with pytest.warns(UserWarning, match=r'old\.pth.*may run code'):
        publish(path, tmp_path / 'new.safetensors')
    monkeypatch.delenv(TRUST)
    assert torch.equal(read_checkpoint(tmp_path / 'new.safetensors')['state_dict']['a'], torch.ones(2))


def test_a_trusted_file_whose_code_is_not_installed_says_what_is_missing(tmp_path, monkeypatch):
    module = types.ModuleType('their_project')
    module.Settings = type('Settings', (), dict(__module__='their_project'))
    monkeypatch.setitem(sys.modules, 'their_project', module)
    torch.save(dict(a=torch.ones(2), settings=module.Settings()), tmp_path / 'theirs.pth')
    monkeypatch.delitem(sys.modules, 'their_project')
    monkeypatch.setenv(TRUST, '1')
    with (
        pytest.warns(UserWarning, match='may run code'),
        pytest.raises(ValueError, match=r"theirs\.pth.*their_project.*No module named 'their_project'"),
    ):
        read_checkpoint(tmp_path / 'theirs.pth')


@pytest.mark.parametrize(
    'what',
    [
        (getattr, '__self__'),  # the module builtins
        (HistoryBuffer.update, '__globals__'),
        (HistoryBuffer, '__init__'),
        (np.ndarray, 'tofile'),
    ],
)
def test_attributes_that_no_checkpoint_needs_are_refused(what, tmp_path):
    torch.save(dict(state_dict={}, meta=Attribute(*what)), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth: refused'):
        read_checkpoint(tmp_path / 'a.pth')


def test_what_mmengine_writes_is_read(tmp_path):
    """A real training with averaged weights, a one-cycle schedule and its log; and values of numpy."""
    schedule = dict(type='OneCycleLR', eta_max=1e-3, total_steps=2, by_epoch=False)
    options = dict(custom_hooks=[dict(type='EMAHook')], param_scheduler=[schedule])
    runner = tiny_runner(tmp_path, train_cfg=dict(max_iters=2), **options)
    numbers = [np.float32(1), np.int64(2), np.bool_(True), np.zeros((2, 3), np.uint8)]
    runner.message_hub.update_info('numbers', numbers)
    runner.train()
    found = read_checkpoint(tmp_path / 'work/iter_2.pth')
    hub = found['message_hub']
    assert {'loss', 'lr'} <= {key.split('/')[-1] for key in hub['log_scalars']}
    assert hub['log_scalars']['train/loss'].current() == hub['log_scalars']['train/loss'].data[0][-1]
    assert np.array_equal(hub['runtime_info']['numbers'][3], numbers[3])
    tiny_runner(
        tmp_path,
        train_cfg=dict(max_iters=3),
        resume=True,
        load_from=str(tmp_path / 'work/iter_2.pth'),
        **options,
    ).train()


@pytest.mark.parametrize('content', [[1], 3, dict(state_dict=[1]), {1: torch.zeros(1)}])
def test_what_holds_no_weights_is_refused(content, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='expected a checkpoint with weights'):
        init_segmentor(SMALL_VOS, tmp_path / 'a.pth', 'cpu')


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which it can be downloaded."""
    (tmp_path / 'served').mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'served')
    handler.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / 'served', f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


def test_downloads_are_read_as_files_are(served, tmp_path, monkeypatch):
    folder, address = served
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    save_file(dict(a=torch.ones(1)), folder / 'a.safetensors')
    torch.save(dict(meta=Code(tmp_path / 'ran')), folder / 'b.pth')
    torch.save(dict(a=torch.ones(1)), folder / 'c-00000000.pth')
    assert torch.equal(read_checkpoint(f'{address}/a.safetensors')['state_dict']['a'], torch.ones(1))
    with pytest.raises(ValueError, match=r'b\.pth: refused'):
        read_checkpoint(f'{address}/b.pth')
    assert not (tmp_path / 'ran').exists()
    with pytest.raises(RuntimeError, match='invalid hash'):
        read_checkpoint(f'{address}/c-00000000.pth')


@pytest.mark.parametrize('trusted', [False, True])
def test_a_pickle_with_an_unknown_operation_is_refused_by_name(tmp_path, monkeypatch, trusted):
    """PyTorch's list of what a file names stops at such an operation, too."""
    torch.save(dict(a=torch.zeros(2)), tmp_path / 'whole.pth')
    path = tmp_path / 'damaged.pth'
    with zipfile.ZipFile(tmp_path / 'whole.pth') as whole, zipfile.ZipFile(path, 'w') as damaged:
        for name in whole.namelist():
            data = whole.read(name)
            damaged.writestr(name, data[:2] + b'\0' + data[3:] if name.endswith('data.pkl') else data)
    if trusted:
        monkeypatch.setenv(TRUST, '1')
    with pytest.raises(ValueError, match=r'damaged\.pth.*damaged or something else'):
        read_checkpoint(str(path))
