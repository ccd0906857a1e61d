"""Configs and weights of the library by name."""

import pytest
from helpers.runs import ROOT

from mmstremn.utils import find_config, find_weights

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
