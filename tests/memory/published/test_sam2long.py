"""SAM2Long's choice of hypotheses against its public rule, and pathways against their parents."""

import math

import numpy as np
import pytest
import torch

from mmstremn.memory import Entry, Query
from mmstremn.memory.published.sam2long import SAM2Long


def published(total, ious, scores, number, certain):
    """The rule as published, for one object."""
    grown = []
    for way in range(number):
        for mask in range(3):
            signed = ious[way][mask] if scores[way] > 0 else -ious[way][mask]
            grown.append((way, mask, total[way] + np.log(ious[way][mask] + 1e-5), signed))
    grown = sorted(grown, key=lambda x: x[2], reverse=True)
    if max(abs(score) for score in scores) > certain:
        return [g[:3] for g in grown[:number]]
    top, seen = [], set()
    for hypothesis in grown:
        if round(hypothesis[3], 2) not in seen:
            top.append(hypothesis)
            seen.add(round(hypothesis[3], 2))
        if len(top) == number:
            break
    if len(top) < number:
        ways = {hypothesis[0] for hypothesis in top}
        for way in range(number):
            if way not in ways:
                top.append(next(hypothesis for hypothesis in grown if hypothesis[0] == way))
            if len(top) == number:
                break
    return [hypothesis[:3] for hypothesis in top]


@pytest.mark.parametrize('number', [1, 2, 3, 5])
def test_hypotheses_are_those_of_the_published_rule(number):
    generator = np.random.default_rng(number)
    memory, cases = SAM2Long(num_pathways=number), set()
    for _ in range(300):
        spread = generator.choice([0.001, 0.02, 0.5])
        ious = (0.45 + spread * generator.random((number, 3))).tolist()
        scores = (generator.choice([0.5, 3]) * generator.standard_normal(number)).tolist()
        total = (-generator.random(number)).tolist()
        expected = published(total, ious, scores, number, 2.0)
        found = memory.hypotheses(total, ious, scores, False)
        assert [h[:2] for h in found] == [h[:2] for h in expected]
        assert np.allclose([h[2] for h in found], [h[2] for h in expected], rtol=0, atol=1e-14)
        cases.add((max(map(abs, scores)) > 2.0, len({way for way, _, _ in found})))
    assert {certain for certain, _ in cases} == {True, False}


def test_pathways_take_over_what_their_parents_hold():
    """Two pathways, one object: the frame's number is stored in each pathway that it went through."""
    memory = SAM2Long(num_pathways=2, num_read=3, num_places=3, num_pointers=4)

    def entry(values, prompted=False, **extras):
        value = torch.tensor(values, dtype=torch.float32).view(2, 1, 1, 1).expand(2, 1, 2, 4)
        made = dict(pointer=torch.zeros(2, 1, 4), iou=torch.ones(2, 1), score=torch.ones(2, 1))
        made.update(prompted=torch.full((2, 1), prompted), **extras)
        return Entry(torch.zeros(2, 1, 1, 1), value, (1, 2), prompted=prompted, extras=made)

    def read(state):
        held = [tokens for tokens, _ in memory.tokens(memory._flat(state))]
        rows = [
            (place, row)
            for t in held
            for place, row in zip(t.objects, t.value[:, :, 0, 0].tolist(), strict=True)
        ]
        return [row for _, row in sorted(rows)]

    def choose(state, ious, score):
        query = Query(torch.zeros(1, 2, 4), extras=dict(pathways=(state.total, [False])))
        rows, masks = memory.choose(query, None, torch.tensor(ious), torch.tensor(score))
        return rows.tolist(), masks.tolist(), query.extras['chosen']

    with torch.no_grad():
        first = entry([10, 10], prompted=True)
        state = memory.write(memory.init(first), first)
        rows, masks, extras = choose(state, [[0.9, 0.1, 0.8], [0.2, 0.3, 0.1]], [5.0, 5.0])
        assert (rows, masks) == ([0, 0], [0, 2])
        assert extras['total'][1, 0].item() == pytest.approx(math.log(0.80001 / 0.90001), abs=1e-6)
        state = memory.write(state, entry([11, 21], **extras))
        rows, masks, extras = choose(state, [[0.1, 0.1, 0.2], [0.9, 0.1, 0.8]], [5.0, 5.0])
        assert (rows, masks) == ([1, 1], [0, 2])
        state = memory.write(state, entry([12, 22], **extras))
        assert read(state) == [[10, 21, 12], [10, 21, 22]]


def test_wrong_options():
    for options, message in ((dict(num_pathways=0), 'num_pathways'), (dict(num_read=0), 'num_read')):
        with pytest.raises(ValueError, match=message):
            SAM2Long(**options)
