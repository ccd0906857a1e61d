"""Configs and weights of the library by name."""

import pytest
from helpers.runs import ROOT
from mmengine.config import Config

from mmstremn.utils import find_config, find_weights, shipped_files
from mmstremn.utils.shipped_files import merge_options, read_config

NAME = 'vos/stremn_r18.py'


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('prefix', ['', 'configs/', 'mmstremn::'])
def test_configs_are_found_from_an_empty_folder(prefix):
    with open(find_config(prefix + NAME)) as found:
        assert found.read() == (ROOT / 'configs' / NAME).read_text()


def test_a_file_in_the_current_folder_goes_first(empty_folder):
    for name in (f'configs/{NAME}', 'weights/stremn_r18.safetensors'):
        (empty_folder / name).parent.mkdir(parents=True)
        (empty_folder / name).write_text('')
    assert find_config(f'configs/{NAME}') == f'configs/{NAME}'
    assert find_weights('weights/stremn_r18.safetensors') == 'weights/stremn_r18.safetensors'


@pytest.mark.parametrize('name', ['vos/none.py', '../setup.py', 'configs/../../setup.py', '/nowhere.py'])
def test_what_is_nowhere_is_named(name):
    with pytest.raises(FileNotFoundError, match=f'config {name}: no such file'):
        find_config(name)


def test_the_most_similar_config_is_named():
    with pytest.raises(FileNotFoundError, match=r'Did you mean vos/stremn_r18\.py\?'):
        find_config('vos/stremn_r81.py')


@pytest.mark.parametrize('name', ['weights/stremn_r18.safetensors', 'stremn_r18.safetensors'])
def test_weights_are_found_from_an_empty_folder(name):
    with open(find_weights(name), 'rb') as found:
        assert found.read() == (ROOT / 'weights/stremn_r18.safetensors').read_bytes()


@pytest.mark.parametrize('name', ['https://host/a.pth', 'a.pth', 'weights/../setup.py', '/nowhere/a.pth'])
def test_other_weights_are_left_as_they_are(name):
    assert find_weights(name) == name


def test_a_config_is_read_with_its_options():
    cfg = read_config('stremn_synthetic.py', {'model.memory.num_slots': 7})
    assert cfg.model.memory.num_slots == 7
    assert read_config(cfg, {'model.memory.num_slots': 5}) is cfg and cfg.model.memory.num_slots == 5
    with pytest.raises(ValueError, match=r'--cfg-options modle\.a: .*Did you mean model\?'):
        read_config('stremn_synthetic.py', {'modle.a': 1})
    without = Config(dict(seed=1))
    with pytest.raises(
        ValueError, match=r'config without a file: expected model = dict\(type=\.\.\.\), found'
    ):
        read_config(without)
    assert read_config(without, needs_model=False) is without


def test_options_of_nothing_are_refused_and_variables_are_said_to_have_no_effect(monkeypatch):
    logged = []
    monkeypatch.setattr(shipped_files, 'print_log', lambda message, *args: logged.append(message))
    cfg = read_config('stremn_synthetic.py')
    for option, similar in (('modle.memory.num_slots', 'model'), ('train_confg', 'train_cfg')):
        with pytest.raises(ValueError, match=f'--cfg-options {option}: .*Did you mean {similar}?'):
            merge_options(cfg, {option: 5})
    merge_options(cfg, {'model.memory.num_slots': 5, 'randomness.seed': 3, 'activation_checkpointing': ['a']})
    assert (cfg.model.memory.num_slots, cfg.randomness.seed) == (5, 3)
    assert not logged
    merge_options(
        cfg, dict.fromkeys(('compile', 'sync_bn', 'find_unused_parameters', 'efficient_conv_bn_eval'))
    )
    assert not logged
    merge_options(cfg, {'max_iters': 5})
    assert len(logged) == 1 and 'max_iters is a variable of the config file' in logged[0]
