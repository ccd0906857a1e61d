"""With the default memory the mask logits are those of a session of transformers."""

import numpy as np
import pytest
import torch

pytest.importorskip('transformers', reason="needs the extra 'sam2'")

from helpers.official_trackers import FRAMES, SEEDS, largest_difference
from helpers.sam2_cases import (
    SAM2,
    TRACKERS,
    Session,
    disc,
    frames,
    processor_of,
    prompts,
    random_weights,
)

from mmstremn.adapters.sam2 import Sam2Segmentor
from mmstremn.models.stream_files import fork as fork_of

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


@pytest.mark.parametrize('name', TRACKERS)
def test_points_refine_a_mask_as_in_the_demo_of_sam2(name):
    """One mask by two points, one by a box; the third is given as it is. Then points alone."""
    model = Sam2Segmentor(tracker=TRACKERS[name])
    random_weights(model.tracker, 0)
    model.tracker.to(torch.float64)
    theirs = Session(model.tracker, processor_of(TRACKERS[name]['model_type']), torch.float64)
    ours, places = model.new_stream(), ((12, 14), (24, 36), (36, 58))
    masks = sum(k * disc((48, 72), *place) for k, place in enumerate(places, 1)).astype(np.uint8)
    alone = dict(points={1: [(16, 12, 1), (20, 20, 0)]}, boxes={2: (28, 16, 44, 34)})
    given = {0: dict(masks=masks), 3: alone | dict(masks=masks), 5: alone}
    for index, frame in enumerate(frames(7, 0)):
        fork = fork_of(ours)
        expected = theirs.step(frame, **given.get(index, {}))
        ids = ours.step(frame, **given.get(index, {})).numpy()
        assert (ours.logits - expected).abs().max() < LARGEST[torch.float64], index
        if index == 3:
            assert np.array_equal(ids == 3, masks == 3) and not np.array_equal(ids == 1, masks == 1)
            fork.step(frame, **alone)
            assert ((fork.logits - ours.logits)[:2].abs().amax((1, 2)) > 1e-3).all()


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
