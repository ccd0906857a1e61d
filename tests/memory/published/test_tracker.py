"""The memory of trackers against lists of all that was offered: what each object reads, in which order."""

import pytest
import torch
from helpers.memory_cases import generator

from mmstremn.memory import (
    Entry,
    FeatureSelector,
    KeepPrompted,
    LRUSelector,
    MinNovelty,
    MostSimilarSelector,
    Query,
    UCBSelector,
)
from mmstremn.memory.published.tracker import TrackerMemory

SMALL = dict(num_slots=3, num_prompted=3, num_places=3, num_pointers=5)
POSITIONS, VALUE, POINTER = 2, 4, 3


def offer(step: int, objects: int, prompted: list[bool]) -> Entry:
    """A random frame; each object's numbers are its own."""
    g = generator(step, 7)
    extras = dict(
        pointer=torch.randn(1, objects, POINTER, generator=g),
        iou=torch.rand(1, objects, generator=g),
        score=torch.randn(1, objects, generator=g),
        prompted=torch.tensor([prompted]),
    )
    key, value = (
        torch.randn(1, objects, POSITIONS, 1, generator=g),
        torch.randn(1, objects, POSITIONS, VALUE, generator=g),
    )
    return Entry(key, value, (1, POSITIONS), prompted=any(prompted), extras=extras)


class WholePast:
    """What one object was offered: the step and whether the user prompted it."""

    def __init__(self, memory: TrackerMemory):
        self.memory, self.prompted, self.tracked, self.latest = memory, [], [], []

    def offer(self, step: int, prompted: bool) -> None:
        memory = self.memory
        if prompted:
            if len(self.prompted) == memory.num_prompted:
                del self.prompted[min(1, memory.num_prompted - 1)]
            self.prompted.append(step)
        else:
            self.tracked = [*self.tracked, step][-memory.slots.num_slots :]
            self.latest.append(step)

    def frames(self, now: int) -> list[tuple[int, int]]:
        """(step, place)."""
        memory = self.memory
        kept = self.prompted if memory.max_prompted < 0 else self.prompted[-memory.max_prompted :]
        late = sorted(self.tracked + [step for step in self.prompted if step not in kept])
        late = [step for step in late if memory.horizon is None or now - step <= memory.horizon]
        late = late[-(memory.num_read or 99) :]
        places = range(len(late), 0, -1) if memory.by_rank else [now - step for step in late]
        return [(step, 0) for step in kept] + [
            (step, min(place, memory.num_places)) for step, place in zip(late, places, strict=True)
        ]

    def pointers(self, now: int) -> list[int]:
        """Steps."""
        return self.prompted + [step for step in self.latest[::-1] if now - step < self.memory.num_pointers]


OPTIONS = [
    {},
    dict(max_prompted=1),
    dict(max_prompted=2, num_prompted=4, num_slots=2),
    dict(by_rank=True, gates=[], num_read=2),
    dict(num_read=2, horizon=4, num_slots=4),
    dict(num_prompted=1),
    dict(num_prompted=2, num_pointers=2),
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_each_object_reads_what_lists_of_the_whole_past_say(options):
    memory = TrackerMemory(**SMALL | options)
    pasts, entries, state = [WholePast(memory) for _ in range(3)], [], None
    draws = torch.rand(40, 3, generator=generator(1)) < 0.25
    for step in range(40):
        objects = 2 if step < 5 else 3
        prompted = [
            step == 0 or (step == 5 and index == 2) or bool(draws[step, index]) for index in range(objects)
        ]
        entries.append(offer(step, objects, prompted))
        with torch.no_grad():
            state = memory.init(entries[0]) if state is None else state
            state = memory.add_objects(state, 1) if step == 5 else state
            state = memory.write(state, entries[-1])
        for past, given in zip(pasts, prompted, strict=False):
            past.offer(step, given)
        now, seen = step + 1, set()
        for tokens, slots in memory.tokens(state):
            for row, index in enumerate(tokens.objects):
                seen.add(index)
                frames, pointers = pasts[index].frames(now), pasts[index].pointers(now)
                assert tokens.place[row].tolist() == [place for _, place in frames]
                assert state.written_at[0, index, slots[row]].tolist() == [at for at, _ in frames]
                values = torch.stack([entries[at].value[0, index] for at, _ in frames])
                assert torch.equal(tokens.value[row], values)
                assert tokens.age[row].tolist() == [now - at for at in pointers]
                points = torch.stack([entries[at].extras['pointer'][0, index] for at in pointers])
                assert torch.equal(tokens.pointer[row], points)
        assert seen == set(range(objects))
        for name in ('iou', 'score'):
            at = state.written_at[0]
            for index, slot in (at >= 0).nonzero().tolist():
                expected = entries[int(at[index, slot])].extras[name][0, index]
                assert getattr(state, name)[0, index, slot] == expected
        assert torch.equal(memory.timeline(state), state.written_at[0, 0])


def attend(tokens):
    """The mean of the values, and shares that grow from frame to frame."""
    frames = tokens.value.shape[1]
    share = torch.arange(1.0, frames + 1).expand(len(tokens.objects), -1)
    return tokens.value.mean(1), share / share.sum(-1, keepdim=True)


def test_a_read_gives_each_object_its_own_and_counts_the_usage_of_its_frames():
    memory = TrackerMemory(**SMALL, selector=LRUSelector())
    with torch.no_grad():
        entries = [offer(step, 2, [step == 0, step in (0, 2)]) for step in range(4)]
        state = memory.init(entries[0])
        for entry in entries:
            state = memory.write(state, entry)
        readout, after = memory.read(state, Query(torch.zeros(1, POSITIONS, 1), extras=dict(attend=attend)))
        values = [[entries[at].value[0, index] for at in range(4)] for index in range(2)]
        expected = torch.stack([torch.stack(own).mean(0) for own in values])
        torch.testing.assert_close(readout, expected[None])
        # The tracked frames 1, 2, 3 of object 0; of object 1 frame 2 is a prompted one.
        assert after.written_at[0].tolist() == [[0, -1, -1, 1, 2, 3], [0, 2, -1, 1, 3, -1]]
        shares = [[0.1, 0, 0, 0.2, 0.3, 0.4], [0.1, 0.2, 0, 0.3, 0.4, 0]]
        torch.testing.assert_close(after.hits, torch.tensor([shares]))
        assert after.read_at[0].tolist() == [[-1, -1, -1, -1, 4, 4], [-1, -1, -1, 4, 4, -1]]
        unmeasured = Query(torch.zeros(1, POSITIONS, 1), extras=dict(attend=lambda t: (attend(t)[0], None)))
        readout, after = memory.read(state, unmeasured)
        torch.testing.assert_close(readout, expected[None])
        assert not after.hits.any()


def test_an_object_that_is_added_holds_nothing():
    memory = TrackerMemory(**SMALL)
    first = offer(0, 1, [True])
    state = memory.add_objects(memory.write(memory.init(first), first), 1)
    for name in ('value', 'pointer', 'iou', 'score', 'latest', 'hits'):
        assert not getattr(state, name)[:, 1].any(), name
    for name in ('written_at', 'read_at', 'latest_at'):
        assert (getattr(state, name)[:, 1] == -1).all(), name
    assert state.births == (0, 1)


def test_selectors_and_gates_look_at_the_tracked_frames_alone():
    """The prompted frame is most like the new one, and stays; a gate lets frames like it pass."""
    memory = TrackerMemory(**SMALL, selector=MostSimilarSelector(), key='memory')
    with torch.no_grad():
        frames = [offer(step, 1, [step == 0]) for step in range(5)]
        for frame, key in zip(frames, ([1.0, 1], [1, -1], [-1, -1], [-1, 1], [1, 1]), strict=True):
            frame.key = torch.tensor(key).view(1, 1, 2, 1)
        frames[1].key[0, 0, 0] = 2
        state = memory.init(frames[0])
        for frame in frames:
            state = memory.write(state, frame)
        assert state.written_at[0, 0].tolist() == [0, -1, -1, 4, 2, 3]
        gated = TrackerMemory(**SMALL, gates=[MinNovelty(0.5)], key='memory')
        state = gated.init(frames[0])
        for frame in (frames[0], frames[4], frames[4], frames[2]):
            state = gated.write(state, frame)
        assert state.written_at[0, 0].tolist() == [0, -1, -1, 1, 3, -1]


def test_selectors_get_what_they_need_to_know():
    """Relevance that nothing has been read for yet, and how often and when each object was seen."""
    blank = TrackerMemory(**SMALL, selector=UCBSelector()).init(offer(0, 2, [True, True]))
    assert (blank.relevance == -1).all()
    memory = TrackerMemory(**SMALL, selector=FeatureSelector(8), key='memory')
    with torch.no_grad():
        state = memory.init(offer(0, 2, [True, True]))
        for step in range(6):
            entry = offer(step, 2, [step == 0] * 2)
            entry.extras['mask'] = torch.tensor([[[1.0, 1], [step % 2, 0]]])
            state = memory.write(state, entry)
    assert state.sightings.tolist() == [[[6, 5], [3, 5]]]


def test_defaults_and_wrong_options():
    memory = TrackerMemory()
    assert (memory.num_prompted, memory.slots.num_slots, memory.num_places, memory.num_pointers) == (
        4,
        6,
        6,
        16,
    )
    assert (memory.horizon, memory.num_read, memory.max_prompted, memory.by_rank) == (6, None, -1, False)
    assert TrackerMemory(num_slots=3).horizon == 3
    assert TrackerMemory(num_slots=3, horizon=9).horizon == 9
    assert TrackerMemory(gates=[]).horizon is None and TrackerMemory(selector=LRUSelector()).horizon is None
    for options, message in (
        (dict(num_slots=0), r'TrackerMemory\.num_slots must be at least 1, got 0'),
        (dict(num_prompted=0), r'TrackerMemory\.num_prompted must be at least 1, got 0'),
        (dict(num_places=0, num_slots=1), r'TrackerMemory\.num_places must be at least 1, got 0'),
        (dict(num_pointers=1), r'TrackerMemory\.num_pointers must be at least 2, got 1'),
        (dict(key='mask'), r"TrackerMemory\.key must be one of none, memory, image, got 'mask'"),
        (dict(gates=[KeepPrompted()]), 'KeepPrompted is not needed'),
        (dict(gates=[MinNovelty()]), "MinNovelty compares keys, expected 'memory' or 'image', got 'none'"),
        (dict(selector=MostSimilarSelector()), 'MostSimilarSelector compares keys'),
    ):
        with pytest.raises(ValueError, match=message):
            TrackerMemory(**options)
    assert TrackerMemory(num_slots=1, num_prompted=1, num_places=1, num_pointers=2).num_pointers == 2
    two = offer(0, 1, [True])
    two.value = two.value.repeat(2, 1, 1, 1)
    with pytest.raises(ValueError, match='one video at a time, got a batch of 2'):
        TrackerMemory().init(two)
