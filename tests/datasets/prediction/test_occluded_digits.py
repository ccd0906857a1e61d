"""Digits that hide and come back."""

import numpy as np
import pytest
import torch

from mmstremn.datasets import OccludedDigitsDataset, SampleRequest
from mmstremn.datasets.prediction.occluded_digits import (
    BEGINS,
    CLEAR,
    MIN_CLEAR,
    RETURN,
    SPEED,
    ink_within,
    reflect,
)

GIVEN = 10


def scene(dataset, place):
    """The occluder and the digits of a clip of 'dev' or 'test'."""
    return dataset.clips._scene(np.random.default_rng(dataset.clips.seeds.of(place, 0)[1]))


def ink_seen(dataset, digit, occluder):
    """(T,) the share of a digit's ink that a frame shows, one pixel at a time."""
    rows, columns = np.nonzero(digit.image)
    weights = digit.image[rows, columns].astype(float)
    shares = []
    for top, left in digit.corners[: dataset.num_frames]:
        y, x = rows + top, columns + left
        inside = (y >= 0) & (y < dataset.size[0]) & (x >= 0) & (x < dataset.size[1])
        height, width = occluder.picture.shape
        behind = (y >= occluder.top) & (y < occluder.top + height)
        behind &= (x >= occluder.left) & (x < occluder.left + width)
        shares.append(weights[inside & ~behind].sum() / weights.sum())
    return np.array(shares)


@pytest.mark.parametrize('size', [32, 64, (32, 48)])
def test_every_digit_is_shown_and_one_is_hidden_and_comes_back(size):
    dataset = OccludedDigitsDataset('test', size=size, num_digits=3)
    places_of_hiding = set()
    for place in range(20):
        occluder, digits = scene(dataset, place)
        seen = np.stack([ink_seen(dataset, digit, occluder) for digit in digits])
        assert ((seen[:, :GIVEN] >= CLEAR).sum(axis=1) >= MIN_CLEAR).all()
        hidden = seen[:, GIVEN - 1] == 0
        assert hidden[0] and seen[1, GIVEN - 1] >= CLEAR
        returned = (seen[hidden, GIVEN:] >= CLEAR).any(axis=0)
        assert returned[:RETURN].any()
        sample = dataset[place]['data_samples']
        assert sample.returned_frames == np.flatnonzero(returned).tolist()
        places_of_hiding.add(bool(digits[0].inside[GIVEN - 1]))
    assert places_of_hiding == {True, False}  # behind the occluder, and outside


def test_a_digit_comes_back_equal_and_the_occluder_stands_still_in_front():
    dataset = OccludedDigitsDataset('test', size=32, num_digits=1)
    for place in range(10):
        frames = dataset[place]['inputs'][:, 0].numpy()
        occluder, (digit,) = scene(dataset, place)
        height, width = occluder.picture.shape
        covered = np.zeros((32, 32), dtype=bool)
        covered[occluder.top : occluder.top + height, occluder.left : occluder.left + width] = True
        assert (frames[:, covered] == occluder.picture.ravel()).all()
        assert occluder.picture.min() > 0 and covered.mean() < 0.5
        totals = (frames * ~covered).sum(axis=(1, 2))
        assert totals[GIVEN - 1] == 0  # the digit is hidden
        whole = digit.image.sum()
        assert (totals[:GIVEN] >= CLEAR * whole).sum() >= MIN_CLEAR
        for place_later in dataset[place]['data_samples'].returned_frames:
            assert CLEAR * whole <= totals[GIVEN + place_later] <= whole
            top, left = digit.corners[GIVEN + place_later]
            rows = slice(max(top, 0), min(top + 10, 32))
            columns = slice(max(left, 0), min(left + 10, 32))
            part = digit.image[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            assert (frames[GIVEN + place_later, rows, columns] == part)[~covered[rows, columns]].all()


def test_a_digit_goes_straight_and_turns_outside_of_the_frame():
    dataset = OccludedDigitsDataset('test', size=32, num_digits=1, output_frames=30)
    lowest, highest = [], []
    for place in range(20):
        _, (digit,) = scene(dataset, place)
        lowest.append(digit.corners.min(axis=0))
        highest.append(digit.corners.max(axis=0))
    low, high = np.array(lowest), np.array(highest)
    assert (
        ((low < 0) | (high > 32 - 10)).sum(axis=1) <= 1
    ).all()  # it leaves the frame in one direction alone
    assert (low.min(axis=0) <= -10).all() and (high.max(axis=0) >= 32).all()  # and wholly
    assert low.min() >= -15 and high.max() <= 37


def test_reflected_ways():
    rng = np.random.default_rng(0)
    for _ in range(20):
        start = rng.random(2)
        way = reflect(start, rng.random() * 2 * np.pi, BEGINS)
        assert way.min() >= 0 and way.max() <= 1
        np.testing.assert_allclose(way[0], start)
        lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
        assert lengths.max() <= SPEED + 1e-9 and np.isclose(lengths, SPEED).mean() > 0.8


def test_ink_within_a_rectangle():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    corners = np.array([[0, 0], [-1, -2], [-3, 0], [4, 3], [9, 9]])
    expected = [66, 6 + 7 + 10 + 11, 0, 0 + 1, 0]
    assert ink_within(image, corners, (0, 0), (5, 5)).tolist() == expected
    assert ink_within(image, corners[:1], (1, 1), (1, 2)).tolist() == [5 + 6]


def test_items_are_a_function_of_split_and_seed():
    train = OccludedDigitsDataset(size=32, num_clips=4)
    first = train[SampleRequest(0, 11)]
    again = OccludedDigitsDataset(size=32)[SampleRequest(3, 11)]
    assert (first['inputs'] == again['inputs']).all()
    assert first['data_samples'].returned_frames == again['data_samples'].returned_frames
    assert (first['inputs'] != train[SampleRequest(0, 12)]['inputs']).any()
    assert (first['inputs'] != OccludedDigitsDataset(size=32, seed=1)[SampleRequest(0, 11)]['inputs']).any()
    dev, test = (OccludedDigitsDataset(split, size=32) for split in ('dev', 'test'))
    assert (dev[0]['inputs'] != test[0]['inputs']).any() and (dev[0]['inputs'] != dev[1]['inputs']).any()
    assert not {image.tobytes() for image in dev.clips.images} & {
        image.tobytes() for image in test.clips.images
    }


def test_longer_clips_begin_like_shorter():
    short, long = (OccludedDigitsDataset('dev', size=32, output_frames=later) for later in (4, 40))
    for index in range(5):
        one, other = short[index], long[index]
        assert torch.equal(one['inputs'], other['inputs'][:14])
        more = other['data_samples'].returned_frames
        assert one['data_samples'].returned_frames == [place for place in more if place < 4]


def test_too_few_input_frames_are_refused():
    with pytest.raises(ValueError, match=r'input_frames must be 8 or more.*got 7'):
        OccludedDigitsDataset(input_frames=7)
    assert OccludedDigitsDataset('dev', input_frames=8, output_frames=1)[0]['inputs'].shape[0] == 9
