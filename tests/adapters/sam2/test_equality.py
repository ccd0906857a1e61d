"""With the default memory the mask logits are those of a session of transformers."""

import pytest
import torch

pytest.importorskip('transformers', reason="needs the extra 'sam2'")

from helpers.sam2_cases import TRACKERS, Session, frames, processor_of, prompts, random_weights

from mmstremn.adapters.sam2 import Sam2Segmentor

LARGEST = 1e-4


@pytest.mark.parametrize('name', TRACKERS)
def test_logits_equal_those_of_transformers(name, tmp_path):
    """Prompts of all kinds, a new object at frame 7, corrections at 12 and 20, resumed at 18."""
    model = Sam2Segmentor(tracker=TRACKERS[name])
    random_weights(model.tracker, 0)
    theirs = Session(model.tracker, processor_of(TRACKERS[name]['model_type']))
    ours, given = model.new_stream(), prompts()
    for index, frame in enumerate(frames(26, 0)):
        expected = theirs.step(frame, **given.get(index, {}))
        ours.step(frame, **given.get(index, {}))
        assert (ours.logits - expected).abs().max() < LARGEST, index
        if index == 17:
            ours.save(str(tmp_path / 'stream.safetensors'))
            ours = model.load_stream(str(tmp_path / 'stream.safetensors'))
    assert ours.object_ids == [1, 2, 3, 4]
    assert torch.isfinite(ours.logits).all()
