"""Hundreds of objects come and go over one stream, for every memory of the comparison."""

import numpy as np
import pytest
from helpers.runs import ROOT
from helpers.vos_cases import tiny_model
from mmengine.config import Config

MEMORIES = Config.fromfile(ROOT / 'configs/_base_/memories.py').memories.to_dict()
SIDE, TOGETHER = 16, 3  # pixels of a frame; objects at a time


def model_of(name):
    """A tiny model; cells are small, so that it takes moments."""
    config, more = dict(MEMORIES[name]), {}
    if 'type' not in config:
        more = {key: value for key, value in config.items() if key != 'memory'}
        config = dict(config['memory'])
    if 'hidden_channels' in config:
        config.update(hidden_channels=8, kernel=3)
    return tiny_model(config, seed=1, **more).eval()


@pytest.mark.parametrize('name', MEMORIES)
def test_objects_come_and_go(name, size, record_property):
    """A new object every frame, the oldest removed; ids are 1..254 and begin anew."""
    if name != 'gumbel' and size(True, False):
        pytest.skip('part of the whole campaign (MMSTREMN_CAMPAIGN=full)')
    model, number, sizes = model_of(name), size(60, 500), []
    stream, rng = model.new_stream(), np.random.default_rng(0)
    for index in range(number):
        if index >= TOGETHER:
            stream.remove(1 + (index - TOGETHER) % 254)
        masks = np.zeros((SIDE, SIDE), np.uint8)
        top, left = rng.integers(0, SIDE - 4, 2)
        masks[top : top + 4, left : left + 4] = 1 + index % 254
        probabilities = stream.probabilities(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), masks)
        assert probabilities.isfinite().all()
        assert (stream.ids_of(probabilities) == 1 + index % 254).sum() == 16
        sizes.append(stream.nbytes)
    if model.memory.bounded:
        assert max(sizes[number // 2 :]) == max(sizes[number // 4 : number // 2])
    record_property('largest state, bytes', max(sizes))
