"""The web app is started from the command line, and talks to nobody."""

import socket
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from helpers.runs import ROOT
from helpers.sam2_cases import SAM2
from helpers.vos_cases import tiny_model

from mmstremn.adapters.sam2.families import random_tracker
from mmstremn.apis.model_names import DEFAULT_MODEL
from mmstremn.app import serving
from mmstremn.app.choices import AS_TRAINED, MEMORIES, SELECTORS, Choice, Models, shipped_models, takes_points
from mmstremn.cli import main
from mmstremn.memory import KeepPrompted


@pytest.fixture
def started(monkeypatch):
    """What the page is served with, which ends at once."""
    calls = []

    @contextmanager
    def served(models, limits, **options):
        calls.append((models, limits, options))
        yield SimpleNamespace(local_url='http://...', block_thread=lambda: None)

    monkeypatch.setattr(serving, 'served', served)
    monkeypatch.setattr(serving.signal, 'signal', lambda *_: None)
    return calls


def test_a_sam2_folder_is_served_to_this_computer_alone(started, tmp_path, capsys):
    tracker, _ = random_tracker(SAM2)
    tracker.save_pretrained(tmp_path / 'small')
    config = str(ROOT / 'configs/adapters/sam2/sam2.1_tiny.py')
    given = ['--config', config, '--checkpoint', str(tmp_path / 'small'), '--upload-limit', '7']
    assert main(['app', *given]) == 0
    models, limits, options = started[0]
    model = models.get(Choice(models.default))
    assert models.default == 'sam2.1_tiny (small)' and takes_points(model)
    assert models.names == ['sam2.1_tiny (small)', *shipped_models()]
    assert models.memories(models.default) == [AS_TRAINED, *SELECTORS]
    assert options['server_name'] == '127.0.0.1' and limits.megabytes == 7
    assert 'no password' not in capsys.readouterr().out
    assert main(['app', '--config', config, '--checkpoint', str(tmp_path / 'nothing')]) == 1


def test_other_addresses_are_warned_of(started, capsys):
    assert main(['app', '--host', '0.0.0.0']) == 0
    assert started[0][2]['server_name'] == '0.0.0.0' and 'no password' in capsys.readouterr().out


def test_frames_with_marks_stay_in_every_memory_of_the_default_model():
    models = Models(shipped_models('cpu'), DEFAULT_MODEL)
    for memory in MEMORIES[:-1]:
        gates = models.get(Choice(DEFAULT_MODEL, memory)).memory.gates
        assert any(isinstance(gate, KeepPrompted) for gate in gates)


def test_nobody_is_called_and_a_port_in_use_is_told(monkeypatch):
    called, connect = [], socket.socket.connect

    def recorded(self, address):
        called.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, 'connect', recorded)
    models = Models({'tiny': tiny_model}, 'tiny')
    with serving.served(models, server_name='127.0.0.1') as page:
        assert urllib.request.urlopen(page.local_url, timeout=60).status == 200
        port = page.server_port
        with (
            pytest.raises(OSError, match=f'127.0.0.1:{port} cannot be used'),
            serving.served(models, server_name='127.0.0.1', server_port=port),
        ):
            pass
    addresses = {address[0] for address in called if isinstance(address, tuple)}
    assert addresses <= {'127.0.0.1', 'localhost'}
