"""Masks that are given come back as they were given, whatever the memory and the sizes at which it works."""

import numpy as np
import pytest
import torch
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo, tiny_model
from mmengine.config import Config

from mmstremn.models import GivenMasks, aggregate
from mmstremn.models.segmentation.given_masks import impose
from mmstremn.structures import GivenIds

MEMORIES = Config.fromfile(ROOT / 'configs/_base_/memories.py').memories.to_dict()
SIZES = dict(
    plain={}, smaller=dict(short_side=24), merged=dict(test_time=dict(flip=True, short_sides=(24, 40)))
)


def model_of(name, **kwargs):
    """A tiny model with a memory of the comparison; small cells, so that it takes moments."""
    config = dict(MEMORIES[name])
    if 'type' not in config:
        kwargs |= {key: value for key, value in config.items() if key != 'memory'}
        config = dict(config['memory'])
    if 'hidden_channels' in config:
        config.update(hidden_channels=8, kernel=3)
    return tiny_model(config, seed=1, **kwargs).eval()


def random_masks(rng, size):
    """Rectangles of one to three objects, some of one pixel."""
    masks = np.zeros(size, np.uint8)
    for number in rng.choice([3, 6, 9, 254], rng.integers(1, 4), replace=False):
        top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
        masks[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = number
    return masks


def check(model, frames, seed=0):
    """Masks at every other frame: each object spoken of is where they say, and nowhere else."""
    video, rng = SquaresVideo(frames, size=(37, 53), appear=(0, 0)), np.random.default_rng(seed)
    stream = model.new_stream()
    for index in range(frames):
        masks = random_masks(rng, video.size) if index % 2 == 0 else None
        ids = stream.step(video.frame(index), masks).numpy()
        for number in set() if masks is None else set(masks[masks > 0].tolist()):
            assert ((ids == number) == (masks == number)).all()


@pytest.mark.parametrize('name', MEMORIES)
def test_every_memory_returns_given_masks(name):
    check(model_of(name), 5)


@pytest.mark.parametrize('size', SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize('name', ['gumbel', 'egm', 'livos', 'gumbel_fusion'])
def test_at_every_size(name, size):
    check(model_of(name, **size), 9, seed=1)


def test_equal_probabilities_of_different_logits():
    """The largest logit is that of the second object, but in float32 its probability is that of the first,
    which the user says is not there."""
    first = torch.tensor(0.1)
    second = torch.nextafter(first, torch.tensor(1.0))
    logits = torch.stack([torch.tensor(-16.0), first, second]).view(1, 3, 1, 1)
    assert logits.argmax(1).item() == 2
    assert logits.softmax(1).argmax(1).item() == 1
    nowhere = GivenMasks(torch.zeros(1, 2, 1, 1, dtype=torch.bool), [0]).replace(logits)
    probabilities = nowhere.softmax(1)[0]
    assert probabilities.argmax(0).item() == 1  # what used to be returned
    imposed = impose(probabilities, GivenIds(np.zeros((1, 1), np.uint8), [3]), [3, 6])
    assert imposed.argmax(0).item() != 1


def test_what_is_not_spoken_of_stays():
    probabilities = aggregate(torch.rand(1, 2, 4, 5, generator=torch.Generator().manual_seed(0))).softmax(1)[
        0
    ]
    ids = np.zeros((4, 5), np.uint8)
    ids[0] = 9
    imposed = impose(probabilities, GivenIds(ids, [9]), [4, 9])
    largest, given = probabilities.argmax(0), torch.from_numpy(ids > 0)
    assert torch.equal(imposed[:, given], torch.tensor([0.0, 0, 1]).view(3, 1).expand(3, 5))
    kept = ~given & (largest != 2)
    assert kept.any()
    assert torch.equal(imposed[:, kept], probabilities[:, kept])
    assert (imposed[0, ~given & (largest == 2)] == 1).all()
