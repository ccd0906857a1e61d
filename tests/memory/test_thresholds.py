"""What happens at a threshold itself, where the rules say whether it is reached or must be passed."""

import math

import pytest
import torch
from helpers.memory_cases import make_entry

from mmstremn.memory import (
    Entry,
    FIFOSelector,
    MinConfidence,
    MinNovelty,
    MinPresence,
    Query,
    SlotFusion,
    SlotMemory,
)
from mmstremn.memory.published.dam4sam import DAM4SAM
from mmstremn.memory.published.sam2long import SAM2Long
from mmstremn.memory.published.samurai import SAMURAI, SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory

LOGITS = torch.tensor([[[1.0, 2.0, 3.0]]])


def below(value):
    return torch.nextafter(torch.tensor(value), torch.tensor(-math.inf)).item()


def above(value):
    return torch.nextafter(torch.tensor(value), torch.tensor(math.inf)).item()


@pytest.mark.parametrize(
    ('gate', 'extra'), [(MinPresence(0.3), 'presence'), (MinConfidence(0.7), 'confidence')], ids=['p', 'c']
)
def test_a_frame_with_the_least_probability_is_stored(gate, extra):
    least = gate.probability
    for value, stored in ((least, True), (below(least), False)):
        entry = make_entry()
        entry.extras[extra] = torch.tensor([[value]])
        assert torch.equal(gate(LOGITS, None, entry), LOGITS) == stored


def test_a_frame_with_the_least_novelty_is_stored():
    """Of keys at right angles, whose cosine is 0, the novelty is 1."""
    first = Entry(torch.tensor([1.0, 0, 0]).view(1, 1, 1, 3), torch.ones(1, 1, 1, 2), (1, 1))
    memory = SlotMemory(2, FIFOSelector())
    state = memory.write(memory.init(first), first)
    other = Entry(torch.tensor([0, 1.0, 0]).view(1, 1, 1, 3), torch.ones(1, 1, 1, 2), (1, 1))
    for least, stored in ((1.0, True), (above(1.0), False)):
        assert torch.equal(MinNovelty(least)(LOGITS, state, other), LOGITS) == stored


def test_values_are_fused_where_the_likeness_is_above_the_threshold():
    """Three slots; the last is overwritten, and its key is that of slot 1."""
    memory = SlotMemory(3, FIFOSelector())
    keys = ([0, 1.0], [1.0, 0], [1.0, 0])
    entries = [
        Entry(torch.tensor(key).view(1, 1, 1, 2), torch.full((1, 1, 1, 2), float(index)), (1, 1))
        for index, key in enumerate(keys)
    ]
    state = memory.init(entries[0])
    for entry in entries:
        state = memory.write(state, entry)
    choice = torch.tensor([[[0, 0, 1.0, 0]]])
    for threshold, fused in ((below(1.0), 1.5), (1.0, 1)):
        after = SlotFusion('average', threshold)(state, choice)
        assert after[0, 0, :, 0, 0].tolist() == [0, fused, 2]


def offer(pixels=100, iou=0.5, overlap=0.5, score=1.0, prompted=False) -> Entry:
    """A frame of a tracker with one object."""

    def number(value, dtype=torch.float64):
        return torch.tensor([[value]], dtype=dtype)

    extras = dict(pointer=torch.zeros(1, 1, 4), iou=number(iou), score=number(score), overlap=number(overlap))
    extras.update(prompted=torch.tensor([[prompted]]), pixels=number(pixels, torch.long))
    return Entry(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 4), (1, 2), prompted=prompted, extras=extras)


def after(memory, *frames):
    """The state after a prompted frame and these."""
    first = offer(prompted=True)
    with torch.no_grad():
        state = memory.write(memory.init(first), first)
        for frame in frames:
            state = memory.write(state, frame)
    return state


@pytest.mark.parametrize(
    ('frame', 'shown'),
    [
        (dict(), True),
        (dict(iou=0.8), False),
        (dict(iou=0.8001), True),
        (dict(overlap=0.7), True),
        (dict(overlap=0.7001), False),
        (dict(pixels=80), True),
        (dict(pixels=79), False),
        (dict(pixels=120), True),
        (dict(pixels=121), False),
        (dict(prompted=True), False),
    ],
    ids=str,
)
def test_dam4sam_sees_a_distractor(frame, shown):
    """The median of the latest sizes is 100."""
    state = after(DAM4SAM(), offer(), offer(), offer(), offer(**dict(iou=0.9) | frame))
    assert state.added_at.tolist() == [[4 if shown else -1]]


@pytest.mark.parametrize(('apart', 'last'), [(5, 2), (6, 8)])
def test_dam4sam_waits_between_distractors(apart, last):
    shows = offer(iou=0.9)
    state = after(DAM4SAM(), offer(), shows, *[offer()] * (apart - 1), shows)
    assert state.added_at.tolist() == [[last]]


def test_dam4sam_forgets_sizes_after_300_frames():
    """The third of three sizes is the median; when the first is 300 frames old two are left, 200 and 220."""
    empty = [offer(pixels=0)]
    for wait, ratio in ((296, 1.0), (297, 220 / 210)):
        memory = DAM4SAM()
        state = after(memory, offer(300), *empty * wait, offer(200), offer(pixels=0))
        pixels = torch.tensor([[220]])
        assert memory._size_ratio(state, pixels, torch.tensor([[True]])).item() == pytest.approx(ratio)


def test_dam4sam_needs_one_pixel():
    """A frame without any leaves no pointer and no frame; one pixel is enough for both."""
    for pixels, held in ((0, [0]), (1, [0, 1])):
        memory = DAM4SAM()
        state = after(memory, offer(pixels=pixels))
        assert [at for at in state.written_at[0, 0].tolist() if at >= 0] == held
        assert (1 in state.latest_at[0, 0].tolist()) == bool(pixels)
        assert (state.sizes_at >= 0).sum() == pixels
    tiny = [offer(pixels=1)] * 3
    assert after(DAM4SAM(), *tiny, offer(pixels=1, iou=0.9)).added_at.tolist() == [[4]]


@pytest.mark.parametrize(
    ('frame', 'reliable'),
    [(dict(iou=0.5), False), (dict(iou=0.5001), True), (dict(score=0), False), (dict(score=1e-4), True)],
    ids=str,
)
def test_samurai_overwrites_unreliable_frames_first(frame, reliable):
    """Of two tracked frames, the older one reliable."""
    memory = TrackerMemory(2, gates=[], selector=SAMURAISelector())
    state = after(memory, offer(iou=0.9), offer(**dict(iou=0.9) | frame), offer())
    assert (2 in state.written_at[0, 0].tolist()) == reliable


def test_samurai_holds_frame_0_where_it_was_not_prompted():
    memory, first = TrackerMemory(2, gates=[], selector=SAMURAISelector()), offer(iou=0.9)
    with torch.no_grad():
        state = memory.write(memory.write(memory.init(first), first), first)
    assert state.written_at[0, 0].tolist() == [-1, -1, -1, -1, 0, 1]


@pytest.mark.parametrize(('settled', 'stable'), [(False, 0), (True, 15)])
def test_samurai_begins_again_after_an_unsure_frame(settled, stable):
    """An IoU of exactly .25 is sure only when the filter has settled."""
    memory, masks = SAMURAI(stable_iou=0.25), -torch.ones(1, 1, 8, 8)
    masks[..., 2:5, 2:5] = 1
    mean = torch.tensor([[3.0, 3, 1, 2, 0, 0, 0, 0]])
    known = mean, torch.eye(8)[None], torch.tensor([15 if settled else 14])
    query = Query(torch.zeros(1, 1, 1), extras=dict(motion=known))
    memory.choose(query, masks, torch.tensor([[0.25]]), torch.ones(1))
    assert query.extras['chosen']['stable'].tolist() == [[stable]]


def test_sam2long_is_certain_above_the_limit():
    """Where it is not, equal masks are one hypothesis."""
    memory = SAM2Long(num_pathways=2)
    ious = [[0.5, 0.5, 0.4], [0.1, 0.1, 0.1]]
    for score, masks in ((2.0, [0, 2]), (2.0001, [0, 1])):
        found = memory.hypotheses([0.0, 0.0], ious, [score, -score], False)
        assert [mask for _, mask, _ in found] == masks
