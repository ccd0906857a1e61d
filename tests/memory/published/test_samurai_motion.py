"""SAMURAI's choice of masks by a Kalman filter, against loops over single objects in float64."""

import numpy as np
import pytest
import torch

from mmstremn.memory import Query
from mmstremn.memory.published.motion import boxes_of
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


def test_boxes():
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:4, 2:6] = True
    assert boxes_of(masks).tolist() == [[2, 1, 5, 3], [0, 0, 0, 0]]


def test_wrong_options():
    for options, message in (
        (dict(weight=2), 'weight'),
        (dict(stable_after=0), 'stable_after'),
        (dict(num_read=0), 'num_read'),
    ):
        with pytest.raises(ValueError, match=message):
            SAMURAI(**options)
