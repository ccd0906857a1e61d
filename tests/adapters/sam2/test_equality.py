"""With the default memory the mask logits are those of a session of transformers."""

import pytest
import torch

pytest.importorskip('transformers', reason="needs the extra 'sam2'")

from helpers.official_trackers import FRAMES, SEEDS, largest_difference
from helpers.sam2_cases import SAM2, TRACKERS, frames, prompts, random_weights

from mmstremn.adapters.sam2 import Sam2Segmentor

LARGEST = {torch.float32: 1e-4, torch.float64: 1e-10}


@pytest.mark.parametrize('name', TRACKERS)
def test_logits_equal_those_of_transformers(name):
    """In float64, where rounding hides no mistake."""
    assert largest_difference(name, 0, torch.float64, 26) < LARGEST[torch.float64]


def test_absent_objects_equal_those_of_transformers():
    assert largest_difference('sam2', 1, torch.float64, 10, -1.0) < LARGEST[torch.float64]


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(SEEDS))
@pytest.mark.parametrize('name', TRACKERS)
def test_logits_equal_in_float32(name, seed):
    assert largest_difference(name, seed, torch.float32, FRAMES) < LARGEST[torch.float32]


def test_another_memory_makes_a_difference():
    """So that what is compared above depends on what is remembered."""
    models = [Sam2Segmentor(tracker=SAM2, memory=memory) for memory in (None, dict(num_slots=5))]
    streams = []
    for model in models:
        random_weights(model.tracker, 0)
        streams.append(model.new_stream())
    given = prompts()
    for index, frame in enumerate(frames(9, 0)):
        for stream in streams:
            stream.step(frame, **given.get(index, {}))
    assert (streams[0].logits - streams[1].logits).abs().max() > 10 * LARGEST[torch.float32]
