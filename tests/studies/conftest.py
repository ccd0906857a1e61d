"""A tiny model on two short videos of the long benchmark, for studies of trained models."""

import pytest
import torch
from helpers.runs import DATA
from mmengine.config import Config

from mmstremn.apis import init_segmentor

SMALL = DATA / 'small_vos.py'


@pytest.fixture(scope='session')
def config(tmp_path_factory):
    """A tiny model on two short videos of the long benchmark."""
    cfg = Config.fromfile(SMALL)
    cfg.test_dataloader.dataset = dict(
        type='LongSyntheticVOSDataset', split='test', size=(48, 48), lengths=(40, 24)
    )
    path = tmp_path_factory.mktemp('config') / 'long.py'
    cfg.dump(str(path))
    return str(path)


@pytest.fixture(scope='session')
def checkpoint(config, tmp_path_factory):
    """Of the model with a learned selector."""
    path = tmp_path_factory.mktemp('checkpoint') / 'start.pth'
    torch.manual_seed(7)
    torch.save(init_segmentor(config, device='cpu').state_dict(), path)
    return str(path)
