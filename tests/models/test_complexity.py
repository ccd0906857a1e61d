"""mmengine's counter of operations and parameters takes our models."""

import pytest
import torch
from helpers.runs import ROOT, SMALL_VOS
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config

from mmstremn.apis import init_predictor, init_segmentor

PREDICTOR = ROOT / 'configs/prediction/stremn_moving_digits.py'


@pytest.mark.parametrize(
    'init, config, channels',
    [(init_segmentor, SMALL_VOS, 3), (init_predictor, PREDICTOR, 1)],
    ids=['segmentor', 'predictor'],
)
def test_clips_and_pictures_are_counted(init, config, channels):
    model = init(config, device='cpu')
    flops = []
    for shape in ((channels, 32, 48), (2, channels, 32, 48), (3, channels, 32, 48)):
        found = get_model_complexity_info(model, shape, show_table=False, show_arch=False)
        assert found['params'] == sum(p.numel() for p in model.parameters())
        flops.append(found['flops'])
    assert 0 < flops[0] == flops[1] < flops[2]  # a picture counts as a clip of two
    given = get_model_complexity_info(
        model, inputs=(torch.zeros(1, 3, channels, 32, 48),), show_table=False, show_arch=False
    )
    assert given['flops'] == flops[2]


def test_a_memory_that_keeps_prompted_frames_is_counted():
    """Tracing knows no Python bool among tensors."""
    config = Config.fromfile(str(SMALL_VOS))
    config.model.memory.gates = [dict(type='EmptyFirst'), dict(type='KeepPrompted')]
    model = init_segmentor(config, device='cpu')
    found = get_model_complexity_info(model, (3, 3, 32, 48), show_table=False, show_arch=False)
    assert found['flops'] > 0 and found['params'] == sum(p.numel() for p in model.parameters())
