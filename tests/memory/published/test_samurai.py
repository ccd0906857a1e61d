"""SAMURAI's rule over the whole past, against slots that hold eight frames."""

import pytest
import torch

from mmstremn.memory import Entry, SlotMemory
from mmstremn.memory.published.samurai import SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory

READ = 6


def entry(iou: float, score: float, prompted: bool) -> Entry:
    def number(value):
        return torch.tensor([[value]], dtype=torch.float64)

    extras = dict(pointer=torch.zeros(1, 1, 4), iou=number(iou), score=number(score))
    extras.update(prompted=torch.tensor([[prompted]]))
    return Entry(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 4), (1, 2), prompted=prompted, extras=extras)


def chosen(history: list[tuple[float, float]], iou: float, score: float) -> list[int]:
    """The frames that the rule finds: the latest reliable ones, and the previous one; frame 0 is prompted."""
    reliable = [t for t, (i, s) in enumerate(history) if t and i > iou and s > score]
    previous = len(history) - 1
    if previous not in reliable:
        reliable.append(previous)
    return reliable[-READ:]


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('iou, score', [(0.5, 0.0), (0.1, 0.0)], ids=['samurai', 'sam2long'])
def test_slots_hold_what_the_rule_finds_in_the_whole_past(seed, iou, score):
    generator = torch.Generator().manual_seed(seed)
    ious = torch.rand(60, generator=generator, dtype=torch.float64).tolist()
    scores = torch.randn(60, generator=generator, dtype=torch.float64).add(0.3).tolist()
    memory = TrackerMemory(
        num_slots=READ + 1, num_read=READ, by_rank=True, gates=[], selector=SAMURAISelector(iou, score)
    )
    state, history = None, []
    with torch.no_grad():
        for step, frame in enumerate(zip(ious, scores, strict=True)):
            offered = entry(*frame, prompted=step == 0)
            state = memory.write(memory.init(offered) if state is None else state, offered)
            history.append(frame)
            if not step:
                continue
            read = memory.frames_to_read(state.written_at[0, 0].tolist(), state.step)
            stamps = state.written_at[0, 0].tolist()
            expected = chosen(history, iou, score)
            assert [stamps[slot] for slot, place in read if place] == expected
            assert [place for _, place in read if place] == list(range(len(expected), 0, -1))
            assert (0, 0) in [(stamps[slot], place) for slot, place in read]


def test_it_needs_a_tracker_memory():
    memory = SlotMemory(selector=SAMURAISelector(), per_object_key=True)
    offered = entry(1, 1, True)
    with torch.no_grad(), pytest.raises(TypeError, match='needs a TrackerMemory, got a SlotState'):
        memory.write(memory.init(offered), offered)
