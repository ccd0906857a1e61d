"""Masks, points and boxes of a frame: what counts of which object."""

import numpy as np

from mmstremn.structures import GivenIds, GivenPrompts, read_prompts

IDS = np.zeros((20, 30), np.uint8)
IDS[2:8, 2:8], IDS[10:18, 10:18] = 1, 2


def read(*given, **options) -> GivenPrompts:
    return read_prompts(*given, **dict(points=None, boxes=None, size=IDS.shape) | options)


def test_an_object_has_a_mask_and_points_that_refine_it():
    given = read(IDS, points={2: [(11, 11, 0)], 3: [(5, 5)]}, boxes={2: (9, 9, 19, 19)})
    assert given.objects == [1, 2, 3] and given.plain() is given
    assert given.points[2].tolist() == [[9, 9, 2], [19, 19, 3], [11, 11, 0]]
    assert given.final_masks.objects == [1]
    assert np.array_equal(given.final_masks.ids, np.where(IDS == 1, 1, 0))
    assert read(IDS).final_masks.objects == [1, 2] and read(None, points={1: [(5, 5)]}).final_masks is None
    assert read(IDS == 1, points={1: [(5, 5)]}).final_masks is None


def test_both_are_left_out_and_replaced_together():
    given = read(IDS, points={2: [(11, 11, 0)]})
    assert isinstance(given.without([2]).plain(), GivenIds) and given.without([2]).objects == [1]
    for new in (read(None, points={2: [(12, 12)]}), read(np.flip(2 * (IDS == 2), 0))):
        both = given.replaced_by(new)
        assert both.objects == [1, 2] and np.array_equal(both.masks.ids == 1, IDS == 1)
        assert (2 in both.points) == (new.masks is None) and not ((both.masks.ids == 2) & (IDS == 2)).any()
