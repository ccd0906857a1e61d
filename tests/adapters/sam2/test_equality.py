"""With the default memory the mask logits are those of a session of transformers."""

import pytest
import torch

pytest.importorskip('transformers', reason="needs the extra 'sam2'")

from helpers.sam2_cases import SAM2, TRACKERS, Session, frames, processor_of, prompts, random_weights

from mmstremn.adapters.sam2 import Sam2Segmentor

LARGEST = {torch.float32: 1e-4, torch.float64: 1e-10}


def largest_difference(name, seed, dtype, number, folder, present=None) -> float:
    """Prompts of all kinds, a new object at frame 7, corrections at 12 and 20, saved and loaded at 18.

    Args:
        name: Of a small tracker.
        seed: Of its weights and of the frames.
        dtype: Of the computation.
        number: Of frames.
        folder: For the saved stream.
        present: Bias of the presence score; None: that of the helper.
    """
    model = Sam2Segmentor(tracker=TRACKERS[name])
    random_weights(model.tracker, seed)
    if present is not None:
        model.tracker.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(present)
    model.tracker.to(dtype)
    theirs = Session(model.tracker, processor_of(TRACKERS[name]['model_type']), dtype)
    ours, given, largest = model.new_stream(), prompts(), 0.0
    for index, frame in enumerate(frames(number, seed)):
        expected = theirs.step(frame, **given.get(index, {}))
        ours.step(frame, **given.get(index, {}))
        largest = max(largest, (ours.logits - expected).abs().max().item())
        if index == 17:
            ours.save(str(folder / 'stream.safetensors'))
            ours = model.load_stream(str(folder / 'stream.safetensors'))
    assert ours.object_ids == [1, 2, 3, 4]
    return largest


@pytest.mark.parametrize('name', TRACKERS)
def test_logits_equal_those_of_transformers(name, tmp_path):
    """In float64, where rounding hides no mistake."""
    assert largest_difference(name, 0, torch.float64, 26, tmp_path) < LARGEST[torch.float64]


def test_absent_objects_equal_those_of_transformers(tmp_path):
    assert largest_difference('sam2', 1, torch.float64, 10, tmp_path, -1.0) < LARGEST[torch.float64]


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('name', TRACKERS)
def test_logits_equal_in_float32(name, seed, tmp_path):
    found = largest_difference(name, seed, torch.float32, 40, tmp_path)
    print(f'{name}, seed {seed}: {found:.1e}')
    assert found < LARGEST[torch.float32]


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
