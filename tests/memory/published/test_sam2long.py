"""SAM2Long's choice of hypotheses against its public rule, and pathways against their parents."""

import math

import numpy as np
import pytest
import torch
from helpers.absent_gpu import AbsentGPU

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


def test_a_presence_of_exactly_zero_counts_as_absent():
    """So equal IoUs of the two pathways are different hypotheses, as a mask and as its absence."""
    memory = SAM2Long(num_pathways=2)
    ious = [[0.5, 0.4, 0.3], [0.5, 0.4, 0.3]]
    assert [h[:2] for h in memory.hypotheses([0.0, -0.1], ious, [0.0, 1.0], False)] == [(0, 0), (1, 0)]
    assert [h[:2] for h in memory.hypotheses([0.0, -0.1], ious, [1.0, 1.0], False)] == [(0, 0), (0, 1)]


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


def test_objects_that_join_keep_their_pathways():
    """Object 0 goes on twice from its pathway 1; object 1, which was not chosen for, from each of its own."""
    memory = SAM2Long(num_pathways=2, num_read=3, num_places=3, num_pointers=4)

    def entry(objects, prompted, **extras):
        value = torch.rand(2, objects, 2, 4)
        made = dict(
            pointer=torch.rand(2, objects, 4), iou=torch.ones(2, objects), score=torch.ones(2, objects)
        )
        made.update(prompted=torch.tensor([prompted, prompted]), **extras)
        return Entry(torch.zeros(2, objects, 1, 1), value, (1, 2), prompted=any(prompted), extras=made)

    with torch.no_grad():
        first = entry(1, [True])
        state = memory.init(first)
        assert all(len(tensor) == 2 for tensor in state.tensors().values())
        assert state.total.tolist() == [[0], [0]] and state.births == (0,)
        state = memory.add_objects(memory.write(state, first), 1)
        chosen = dict(parents=torch.tensor([[1], [1]]), total=torch.tensor([[0.0], [-1.0]]))
        second = entry(2, [False, True], **chosen)
        state = memory.write(state, second)
        assert state.births == (0, 1) and state.step == 2
        assert state.total.tolist() == [[0, 0], [-1, 0]]
        written = state.written_at
        assert (written[:, 0, 0] == 0).all() and (written[:, 1, 0] == 1).all()
        assert torch.equal(state.value[:, 0, 0], first.value[[1, 1], 0])
        assert torch.equal(state.value[:, 1, 0], second.value[:, 1])
        query = Query(torch.zeros(1, 2, 4), extras=dict(attend=lambda t: (t.value[:, -1], None)))
        readout, after = memory.read(state, query)
        assert after is state and torch.equal(readout, second.value.flatten(0, 1)[None])
        total, new = query.extras['pathways']
        assert torch.equal(total, state.total) and new == [False, True]
        ious = torch.tensor([[0.2, 0.9], [0.5, 0.1], [0.3, 0.1], [0.6, 0.2]])  # of ways 0, 0, 1, 1
        rows, masks = memory.choose(query, None, ious, torch.full((4,), 5.0))
        # Object 0: masks 1 and 0 of pathway 0, as pathway 1 begins a whole nat below. Object 1 is new.
        assert rows.tolist() == [0, 1, 0, 3] and masks.tolist() == [1, 0, 0, 0]


def test_options():
    for options, message in (
        (dict(num_pathways=0), r'SAM2Long\.num_pathways must be at least 1, got 0'),
        (dict(num_read=0), r'SAM2Long\.num_read must be at least 1, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            SAM2Long(**options)
    memory = SAM2Long(
        least_iou=0.2, num_prompted=2, key='image', num_places=5, num_pointers=7, max_prompted=1
    )
    assert memory.slots.selector.iou == 0.2 and len(memory.slots.gates) == 0
    assert (memory.slots.num_slots, memory.num_read, memory.by_rank) == (6, 5, True)
    assert (memory.num_prompted, memory.key, memory.num_places) == (2, 'image', 5)
    assert (memory.num_pointers, memory.max_prompted) == (7, 1)
    default = SAM2Long()
    assert (default.num_pathways, default.certain, default.slots.selector.iou) == (3, 2.0, 0.1)
    assert (default.num_prompted, default.num_places, default.num_pointers) == (4, 6, 16)


def test_pathways_of_an_object_that_joined_lie_on_the_device_of_the_others():
    gpu, memory = AbsentGPU(), SAM2Long(num_pathways=2)

    def entry(objects, **extras):
        made = dict(
            pointer=torch.rand(2, objects, 4), iou=torch.ones(2, objects), score=torch.ones(2, objects)
        )
        made = {name: gpu.take(tensor) for name, tensor in (made | extras).items()}
        value = gpu.take(torch.rand(2, objects, 2, 4))
        return Entry(gpu.take(torch.zeros(2, objects, 1, 1)), value, (1, 2), prompted=True, extras=made)

    first = entry(1, prompted=torch.ones(2, 1, dtype=torch.bool))
    chosen = dict(parents=torch.tensor([[1], [1]]), total=torch.tensor([[0.0], [-1.0]]))
    second = entry(2, prompted=torch.ones(2, 2, dtype=torch.bool), **chosen)
    with gpu, torch.no_grad():
        state = memory.add_objects(memory.write(memory.init(first), first), 1)
        state = memory.write(state, second)
    assert {tensor.device.type for tensor in state.tensors().values()} == {'cuda'}
    assert state.value.shape[:2] == (2, 2)
