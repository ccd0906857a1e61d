"""Settings of all tests: few threads, our registry scope, real data where the environment names it."""

import importlib.util
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))

if importlib.util.find_spec('mmdet'):  # before any test imports mmcv.ops, which remembers that there are none
    import mmstremn.adapters.install_ops_stub  # noqa: F401


@pytest.fixture(autouse=True, scope='session')
def mmstremn_scope():
    """Types without a scope are ours, as in a config with ``default_scope = 'mmstremn'``."""
    DefaultScope.get_instance('tests', scope_name='mmstremn')


@pytest.fixture(autouse=True)
def scope_stays():
    """Inferencers and runners of a test leave their own scope behind."""
    with DefaultScope.overwrite_default_scope(DefaultScope.get_current_instance().scope_name):
        yield


@pytest.fixture(autouse=True)
def loggers_stay():
    """A logger that a test with capsys made has an output that is closed with the test; it gets another."""
    yield
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler and handler.stream.closed:
                handler.stream = sys.stdout


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder with real videos that ``MMSTREMN_DATA`` names; tests that need it are skipped without it."""
    folder = os.environ.get('MMSTREMN_DATA')
    if not folder or not Path(folder).is_dir():
        pytest.skip('MMSTREMN_DATA names no folder with real data')
    return Path(folder)
