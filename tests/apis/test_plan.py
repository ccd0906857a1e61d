"""Which masks each frame comes from."""

import itertools

import numpy as np
import pytest

from mmstremn.apis.plan import Plan
from mmstremn.structures import GivenIds, GivenPrompts


def plan(speaks, length=20, **options):
    """A plan of masks of these objects by frame."""
    given = {
        frame: GivenIds(np.full((2, 2), min(objects), np.uint8), sorted(objects))
        for frame, objects in speaks.items()
    }
    return Plan(given, length, **options)


def nearest_key(keys, frame):
    """By hand: the nearest, the earlier where two are equally near."""
    return min(keys, key=lambda key: (abs(key - frame), key))


def random_cases():
    rng = np.random.default_rng(0)
    for _ in range(60):
        length = int(rng.integers(1, 16))
        frames = rng.choice(length, size=int(rng.integers(1, min(length, 5) + 1)), replace=False)
        yield (
            length,
            {
                int(frame): set((1 + rng.choice(3, size=int(rng.integers(1, 4)), replace=False)).tolist())
                for frame in frames
            },
        )


@pytest.mark.parametrize('merge', ['nearer', 'blend'])
def test_every_object_comes_from_its_nearest_masks(merge):
    for length, speaks in random_cases():
        made = plan(speaks, length, merge=merge)
        for frame, k in itertools.product(range(length), made.object_ids):
            keys = [key for key, objects in speaks.items() if k in objects]
            sources = made.sources(frame)[k]
            assert sum(source.weight for source in sources) == pytest.approx(1)
            strongest = max(sources, key=lambda source: source.weight)
            span = made.spans[strongest.span]
            assert frame in span.frames and span.frames[0] in span.keyframes
            sign = 1 if span.frames.step > 0 else -1
            last = max(
                (key for key in span.keyframes if k in speaks[key] and (frame - key) * sign >= 0),
                key=lambda key: key * sign,
            )
            assert abs(last - frame) == abs(nearest_key(keys, frame) - frame)


def test_one_mask_is_one_span_each_way_and_no_frame_is_computed_twice():
    assert [span.frames for span in plan({7: {1}}).spans] == [range(7, 20), range(7, -1, -1)]
    assert [span.frames for span in plan({0: {1}}).spans] == [range(20)]
    spans = plan({2: {1, 2}, 9: {1, 2}}).spans
    computed = [frame for span in spans for frame in span.frames if frame not in span.keyframes]
    assert sorted(computed) == [frame for frame in range(20) if frame not in (2, 9)]


def test_forwards_one_stream_takes_all_masks():
    made = plan({3: {1}, 5: {1, 2}}, direction='forward')
    assert [(span.frames, span.keyframes) for span in made.spans] == [(range(3, 20), (3, 5))]
    assert made.sources(2) == {} and set(made.sources(4)) == {1}


def test_a_correction_changes_nothing_beyond_the_middle():
    before = plan({0: {1, 2}, 10: {1, 2}, 19: {1, 2}})
    after = plan({0: {1, 2}, 10: {1, 2}, 14: {1, 2}, 19: {1, 2}})
    changed = [frame for frame in range(20) if before.recipe(frame) != after.recipe(frame)]
    assert changed == [13, 14, 15, 16]
    partly = plan({0: {1, 2}, 14: {1}})
    changed = [frame for frame in range(20) if plan({0: {1, 2}}).recipe(frame) != partly.recipe(frame)]
    assert changed == list(range(8, 20))


@pytest.mark.parametrize('merge', ['nearer', 'blend'])
@pytest.mark.parametrize('direction', ['both', 'forward'])
def test_an_object_that_is_removed_is_in_no_frame_until_its_next_masks(direction, merge):
    rng = np.random.default_rng(1)
    for length, speaks in random_cases():
        first = {k: min(f for f in speaks if k in speaks[f]) for k in set().union(*speaks.values())}
        removals = {}
        for frame in rng.choice(length, size=min(length, 3), replace=False).tolist():
            gone = {k for k in first if first[k] < frame and k not in speaks.get(frame, ())}
            if gone:
                removals[frame] = gone
        made = plan(speaks, length, merge=merge, direction=direction, removals=removals)
        for frame, k in itertools.product(range(length), made.object_ids):
            events = sorted([f for f in speaks if k in speaks[f]] + [f for f in removals if k in removals[f]])
            last = max((f for f in events if f <= frame), default=None)
            there = direction == 'both' if last is None else k not in removals.get(last, ())
            assert (k in made.sources(frame)) == there, (speaks, removals, frame, k)
            for source in made.sources(frame).get(k, []):
                assert k in objects_of_stream(made, source.span, frame)
        for number, span in enumerate(made.spans):
            for frame in span.frames:
                alone = {source.span for s in made.sources(frame).values() for source in s} == {number}
                assert not alone or objects_of_stream(made, number, frame) == set(made.sources(frame))


def objects_of_stream(made, number, frame):
    """By hand: what the stream of a span knows at a frame."""
    known = set()
    for index in made.spans[number].frames:
        known -= set(made.removed(number).get(index, ()))
        if index in made.spans[number].keyframes:
            known |= set(made.given[index].objects)
        if index == frame:
            return known


def test_a_removal_changes_the_frames_from_there_on():
    before, after = plan({0: {1, 2}, 15: {1}}), plan({0: {1, 2}, 15: {1}}, removals={12: {2}})
    assert [f for f in range(20) if before.recipe(f) != after.recipe(f)] == list(range(12, 20))


def test_points_and_the_mask_that_they_refine_both_count():
    """Also a mask without a pixel: it is another base than none."""
    ids = np.ones((2, 2), np.uint8)
    first, second = np.array([[0, 1, 1.0]]), np.array([[1, 1, 0.0]])
    given = [
        GivenPrompts(GivenIds(ids, objects), points)
        for objects in ([1], [1, 2])
        for points in ({2: first}, {2: second}, {1: first}, {})
    ]
    assert len({Plan({0: prompts}, 3).recipe(0) for prompts in given}) == len(given)


def test_the_middle_is_blended():
    made = plan({0: {1}, 4: {1}}, 5, merge='blend')
    assert [[round(s.weight, 2) for s in made.sources(t)[1]] for t in range(5)] == [
        [1], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [1],
    ]  # fmt: skip


@pytest.mark.parametrize(
    'speaks, options, message',
    [
        ({}, {}, 'no masks are given'),
        ({20: {1}}, {}, r'frame 20: expected a frame in 0\.\.19'),
        ({0: {1}}, dict(direction='up'), 'direction: expected one of both, forward'),
        ({0: {1}}, dict(merge='mean'), 'merge: expected one of nearer, blend'),
        ({0: {1}}, dict(removals={20: {1}}), r'removal at frame 20: expected a frame in 0\.\.19'),
        ({0: {1}}, dict(removals={4: {2}}), r'frame 4: no object 2 before it, expected one of \[1\]'),
        ({0: {1}, 8: {2}}, dict(removals={4: {2}}), r'frame 4: no object 2 before it, expected one of \[1\]'),
        (
            {5: {1}},
            dict(removals={4: {1}}),
            'frame 4: no object 1 before it, expected a frame behind the first',
        ),
        ({0: {1}, 8: {1}}, dict(removals={8: {1}}), 'frame 8: object 1 is given and removed'),
    ],
)
def test_what_is_no_plan(speaks, options, message):
    with pytest.raises(ValueError, match=message):
        plan(speaks, **options)
