"""A step of a stream asks the device for no value: the host waits only when the user takes the mask."""

import numpy as np
import pytest
import torch
from helpers.no_questions import NoQuestions
from helpers.vos_cases import tiny_model

from mmstremn.memory import MEMORIES, SELECTORS

SMALL = {'TwoLevelMemory': dict(min_frames=2, max_frames=3, every=1, num_prototypes=4, capacity=6)}
CONFIGS = [dict(type=cls.__name__, **SMALL.get(cls.__name__, {})) for cls in MEMORIES]
CONFIGS += [dict(type='SlotMemory', num_slots=2, selector=dict(type=cls.__name__)) for cls in SELECTORS]
CONFIGS.append(
    dict(
        type='SlotMemory',
        num_slots=2,
        gates=[dict(type=name) for name in ('EmptyFirst', 'KeepFirst', 'MinNovelty', 'Skip', 'EveryN')],
        reader=dict(type='TopKReader', affinity=dict(type='AnisotropicL2Affinity'), k=4),
    )
)
CONFIGS.append(dict(type='GrowingMemory', keep_last=True, per_object_key=True))


@pytest.mark.parametrize('memory', CONFIGS, ids=lambda m: m.get('selector', m)['type'])
def test_a_step_does_not_wait_for_the_device(memory):
    model = tiny_model(memory)
    frame = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    masks = np.zeros((32, 48), np.uint8)
    masks[4:20, 4:20], masks[20:30, 30:40] = 1, 5
    stream = model.start(frame, masks)
    with NoQuestions():
        for _ in range(5):
            ids = stream.step(frame)
    assert ids.shape == (32, 48)


def test_the_watch_sees_a_question():
    with pytest.raises(AssertionError, match='makes the host wait'), NoQuestions():
        bool(torch.ones(1) > 0)
