"""Generators in threads: order, errors, an early end."""

import threading

import pytest
import torch

from mmstremn.apis.side_by_side import side_by_side


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2  # it is as it was
    torch.set_num_threads(before)


def test_each_keeps_its_order_and_no_more_run_than_was_said():
    running, most = set(), []

    def run(name):
        for index in range(5):
            running.add(name)
            most.append(len(running))
            yield name, index
        running.discard(name)

    found = list(side_by_side([run(name) for name in range(5)], 3))
    assert len(found) == 25 and max(most) == 3
    for name in range(5):
        assert [index for owner, index in found if owner == name] == list(range(5))


def test_two_run_at_the_same_time_with_a_thread_each():
    meet = threading.Barrier(2, timeout=10)

    def run():
        meet.wait()
        yield torch.get_num_threads()

    assert list(side_by_side([run(), run()], 2)) == [1, 1]


@pytest.mark.parametrize('at_once', [1, 2])
def test_errors_are_raised_and_the_others_closed(at_once):
    closed = []

    def good():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    def bad():
        yield 0
        raise ValueError('frame 1 is damaged')

    with pytest.raises(ValueError, match='frame 1 is damaged'):
        list(side_by_side([bad(), good()], at_once))
    assert len(closed) == at_once - 1  # alone it has not begun


def test_an_early_end_closes_all():
    closed = []

    def run():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    results = side_by_side([run(), run()], 2)
    found = [next(results) for _ in range(6)]
    results.close()
    assert len(found) == 6 and len(closed) == 2
