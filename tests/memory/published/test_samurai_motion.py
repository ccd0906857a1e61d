"""SAMURAI's choice of masks by a Kalman filter, against loops over single objects in float64."""

import numpy as np
import pytest
import torch

from mmstremn.memory import Entry, Query
from mmstremn.memory.published.motion import boxes_of, overlap
from mmstremn.memory.published.samurai import SAMURAI


class OneObject:
    """The rule as published, for one object."""

    def __init__(self, weight=0.15, after=15, least=0.3):
        self.weight, self.after, self.least, self.stable = weight, after, least, 0

    def noise(self, height, factors, fixed):
        place, speed = factors[0] * height / 20, factors[1] * height / 160
        return np.diag(np.square([place, place, fixed[0], place, speed, speed, fixed[1], speed]))

    def begin(self, box):
        self.mean, self.spread = np.r_[box, np.zeros(4)], self.noise(box[3], (2, 10), (1e-2, 1e-5))

    def predict(self):
        step = np.eye(8) + np.eye(8, k=4)
        noise = self.noise(self.mean[3], (1, 1), (1e-2, 1e-5))
        self.mean, self.spread = step @ self.mean, step @ self.spread @ step.T + noise

    def update(self, box):
        look = np.eye(4, 8)
        seen = look @ self.spread @ look.T + self.noise(self.mean[3], (1, 1), (1e-1, 1e-5))[:4, :4]
        gain = self.spread @ look.T @ np.linalg.inv(seen)
        self.mean, self.spread = self.mean + gain @ (box - self.mean[:4]), self.spread - gain @ seen @ gain.T

    def overlap(self, box):
        if box == [0, 0, 0, 0]:
            return 0
        x, y, ratio, height = self.mean[:4]
        mine = x - ratio * height / 2, y - height / 2, x + ratio * height / 2, y + height / 2
        sides = [max(0, min(mine[i + 2], box[i + 2]) - max(mine[i], box[i])) for i in (0, 1)]
        areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (mine, box)]
        return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])

    def choose(self, boxes, ious):
        def centred(box):
            height = box[3] - box[1] or 1
            return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / height, height]

        best = int(np.argmax(ious))
        if self.stable == 0:
            self.begin(centred(boxes[best]))
            self.stable = 1
        elif self.stable < self.after:
            self.predict()
            if ious[best] > self.least:
                self.update(centred(boxes[best]))
            self.stable = self.stable + 1 if ious[best] > self.least else 0
        else:
            self.predict()
            scores = [
                self.weight * self.overlap(b) + (1 - self.weight) * i
                for b, i in zip(boxes, ious, strict=True)
            ]
            best = int(np.argmax(scores))
            if ious[best] < self.least:
                self.stable = 0
            else:
                self.update(centred(boxes[best]))
        return best


@pytest.mark.parametrize('seed', range(3))
def test_masks_are_those_of_the_published_rule(seed):
    generator = np.random.default_rng(seed)
    memory, objects = SAMURAI(), [OneObject() for _ in range(3)]
    query = Query(torch.zeros(1, 1, 1))
    state = memory.further_fields(torch.zeros(1, 3, dtype=torch.long))
    state = {name: t.double() if t.is_floating_point() else t for name, t in state.items()}
    turned = 0
    for index in range(120):
        masks = -torch.ones(3, 3, 40, 60)
        for row in range(3):
            for column in range(3):
                x, y = 5 + index % 30 + 3 * column, 5 + 4 * row + int(generator.integers(0, 4))
                width, height = (int(generator.integers(1, 14)) for _ in range(2))
                if generator.random() > 0.05:
                    masks[row, column, y : y + height, x : x + width] = 1
        low = 0.2 if index % 37 == 36 else 0.5
        ious = low + 0.09 * generator.random((3, 3))
        query.extras['motion'] = tuple(state[name][0] for name in ('motion', 'spread', 'stable'))
        rows, best = memory.choose(query, masks, torch.from_numpy(ious), torch.ones(3))
        state = query.extras['chosen']
        boxes = boxes_of(masks > 0).tolist()
        expected = [
            one.choose(*pair) for one, pair in zip(objects, zip(boxes, ious, strict=True), strict=True)
        ]
        assert rows.tolist() == [0, 1, 2] and best.tolist() == expected
        assert state['stable'][0].tolist() == [one.stable for one in objects]
        for name, theirs in (('motion', 'mean'), ('spread', 'spread')):
            expected_moments = np.stack([getattr(one, theirs) for one in objects])
            assert np.allclose(state[name][0], expected_moments, rtol=1e-9, atol=1e-9)
        turned += sum(e != int(np.argmax(i)) for e, i in zip(expected, ious, strict=True))
    assert turned > 20, 'motion changes the choice'


def offer(prompted, **motion) -> Entry:
    """A frame of as many objects as ``prompted`` names."""
    objects = len(prompted)
    extras = dict(
        pointer=torch.zeros(1, objects, 4), iou=torch.ones(1, objects), score=torch.ones(1, objects)
    )
    extras.update(motion, prompted=torch.tensor([prompted]))
    return Entry(torch.zeros(1, objects, 1, 1), torch.zeros(1, objects, 2, 4), (1, 2), extras=extras)


def test_the_state_holds_the_filters_and_a_prompt_begins_them_anew():
    memory, first = SAMURAI(num_places=2, num_pointers=3), offer([True, True])
    with torch.no_grad():
        state = memory.write(memory.init(first), first)
        assert state.motion.shape == (1, 2, 8) and state.spread.shape == (1, 2, 8, 8)
        assert not state.motion.any() and not state.spread.any() and not state.stable.any()
        state = memory.add_objects(state, 1)
        known = dict(motion=torch.rand(1, 2, 8), spread=torch.rand(1, 2, 8, 8), stable=torch.tensor([[4, 5]]))
        offered = offer([False, True, True], **known)
        state = memory.write(state, offered)
        for name in ('motion', 'spread'):
            assert torch.equal(getattr(state, name)[:, :2], known[name])
            assert not getattr(state, name)[:, 2].any()
        assert state.stable.tolist() == [[4, 0, 0]]
        assert set(known) < set(offered.extras)
        query = Query(torch.zeros(1, 2, 1), extras=dict(attend=lambda t: (t.value.mean(1), None)))
        readout, after = memory.read(state, query)
    assert readout.shape == (1, 3, 2, 4) and after is state
    for name, given in zip(('motion', 'spread', 'stable'), query.extras['motion'], strict=True):
        assert torch.equal(given, getattr(state, name)[0])


def test_boxes():
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:4, 2:6] = True
    assert boxes_of(masks).tolist() == [[2, 1, 5, 3], [0, 0, 0, 0]]


def test_overlap():
    """Of a box and others, and 0 where either has no area, also at the origin."""
    box = torch.tensor([[2.0, 1, 2, 2]])  # centre, ratio and height: x 0..4, y 0..2
    others = torch.tensor([[[0.0, 0, 4, 2], [2, 1, 6, 3], [4, 0, 8, 2], [1, 1, 1, 2], [0, 0, 0, 0]]])
    torch.testing.assert_close(overlap(box, others), torch.tensor([[1, 1 / 7, 0, 0, 0]]))
    small = torch.tensor([[0.5, 0.5, 0.5, 1]])  # with a union of 1 that it has a half of
    assert overlap(small, torch.tensor([[[0.0, 0, 1, 1]]])).tolist() == [[0.5]]
    for nothing in (torch.zeros(1, 4), torch.tensor([[2.0, 1, -2, 2]])):
        assert overlap(nothing, others).tolist() == [[0, 0, 0, 0, 0]]


def test_options():
    for options, message in (
        (dict(weight=2), r'SAMURAI\.weight must be in 0\.\.1, got 2'),
        (dict(weight=-0.1), r'SAMURAI\.weight must be in 0\.\.1, got -0\.1'),
        (dict(stable_after=0), r'SAMURAI\.stable_after must be at least 1, got 0'),
        (dict(num_read=0), r'SAMURAI\.num_read must be at least 1, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            SAMURAI(**options)
    assert SAMURAI(weight=0).weight == 0 and SAMURAI(weight=1, stable_after=1).stable_after == 1
    memory = SAMURAI(
        iou=0.4, score=0.1, num_prompted=2, key='image', num_places=5, num_pointers=7, max_prompted=1
    )
    selector = memory.slots.selector
    assert (selector.iou, selector.score_above) == (0.4, 0.1) and len(memory.slots.gates) == 0
    assert (memory.slots.num_slots, memory.num_read, memory.by_rank) == (6, 5, True)
    assert (memory.num_prompted, memory.key, memory.num_places) == (2, 'image', 5)
    assert (memory.num_pointers, memory.max_prompted) == (7, 1)
    assert (SAMURAI().weight, SAMURAI().stable_after, SAMURAI().stable_iou) == (0.15, 15, 0.3)
    assert (SAMURAI().slots.selector.iou, SAMURAI().slots.selector.score_above) == (0.5, 0.0)
    assert (SAMURAI().num_prompted, SAMURAI().num_places, SAMURAI().num_pointers) == (4, 6, 16)
