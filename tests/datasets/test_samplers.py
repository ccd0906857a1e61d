"""The sampler's requests are functions of (seed, iteration, rank, place) alone."""

from itertools import islice

import pytest

from mmstremn.datasets import samplers
from mmstremn.datasets.samplers import IterationSampler


def requests(monkeypatch, count, rank=0, world=1, length=10, batch_size=4, start=0, seed=0, schedule=()):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world))
    sampler = IterationSampler(range(length), seed=seed, batch_size=batch_size)
    sampler.start, sampler.skip_schedule = start, list(schedule)
    return list(islice(sampler, count))


def test_two_ranks_together_are_one_process(monkeypatch):
    one = requests(monkeypatch, 60, batch_size=4)
    ranks = [requests(monkeypatch, 30, rank=rank, world=2, batch_size=2) for rank in range(2)]
    union = [request for i in range(0, 30, 2) for rank in ranks for request in rank[i : i + 2]]
    assert union == one


@pytest.mark.parametrize('start', [1, 3, 7])
def test_starting_at_an_iteration_skips_those_before(monkeypatch, start):
    schedule = [(0, 5), (4, 10)]
    whole = requests(monkeypatch, 60, schedule=schedule)
    assert requests(monkeypatch, 60 - 4 * start, start=start, schedule=schedule) == whole[4 * start :]


def test_every_epoch_visits_every_video_once_in_a_new_order(monkeypatch):
    indices = [request.index for request in requests(monkeypatch, 40, batch_size=4, length=10)]
    epochs = [tuple(indices[i : i + 10]) for i in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 4


def test_sample_seeds_differ_and_depend_on_the_seed(monkeypatch):
    first = requests(monkeypatch, 400)
    assert len({request.seed for request in first}) == 400
    other = requests(monkeypatch, 400, seed=1)
    assert not {request.seed for request in first} & {request.seed for request in other}
    assert requests(monkeypatch, 400) == first


def test_skip_is_a_function_of_the_iteration(monkeypatch):
    skips = [
        request.max_skip
        for request in requests(monkeypatch, 12, batch_size=2, schedule=[(1, 5), (3, 10), (5, 2)])
    ]
    assert skips == [None, None, 5, 5, 5, 5, 10, 10, 10, 10, 2, 2]


def test_batch_may_be_larger_than_the_data_set(monkeypatch):
    indices = [request.index for request in requests(monkeypatch, 6, batch_size=6, length=2)]
    assert [sorted(indices[i : i + 2]) for i in (0, 2, 4)] == [[0, 1]] * 3


def test_empty_data_set_is_refused():
    with pytest.raises(ValueError, match='empty'):
        IterationSampler([], seed=0)
