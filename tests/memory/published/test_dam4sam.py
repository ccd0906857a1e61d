"""DAM4SAM's rules over the whole past, against bounded slots."""

import cv2
import numpy as np
import pytest
import torch

from mmstremn.adapters.sam2.distractors import least_overlap
from mmstremn.memory import Entry
from mmstremn.memory.published.dam4sam import DAM4SAM

PLACES, RESOLVING, STRIDE, POINTERS = 6, 4, 5, 16


def entry(iou, pixels, overlap, prompted: bool) -> Entry:
    def number(value, dtype=torch.float64):
        return torch.tensor([[value]], dtype=dtype)

    extras = dict(pointer=torch.zeros(1, 1, 4), iou=number(iou), score=number(1.0), overlap=number(overlap))
    extras.update(prompted=torch.tensor([[prompted]]), pixels=number(pixels, torch.long))
    return Entry(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 4), (1, 2), prompted=prompted, extras=extras)


class WholePast:
    """The rules as published: every frame is kept; the first is prompted."""

    def __init__(self, birth=0, num_resolving=RESOLVING, stride=STRIDE, interval=5, least_iou=0.8):
        self.resolving, self.others, self.sizes, self.last = [birth], {}, [], -1
        self.birth, self.num_resolving, self.stride = birth, num_resolving, stride
        self.interval, self.least_iou = interval, least_iou

    def offer(self, index: int, iou: float, pixels: int, overlap: float, prompted: bool = False) -> None:
        if prompted:
            self.resolving += [index] if index > self.birth else []
            return
        self.others[index] = pixels
        self.sizes.append(pixels)
        seen = [size for size in self.sizes[-300:] if size >= 1][-10:]
        ratio = pixels / np.median(seen) if len(self.sizes) > 1 and pixels >= 1 else -1
        apart = index - self.last > self.interval or self.last == -1
        if iou > self.least_iou and 0.8 <= ratio <= 1.2 and pixels >= 1 and apart and overlap <= 0.7:
            self.last = index
            self.resolving.append(index)
            del self.others[index]

    def reads(self, now: int) -> tuple[list[int], list[int], set[tuple[int, int]]]:
        """Resolving frames, recent frames from the oldest on, and (frame, age) of pointers."""
        before = [t for t in self.resolving if t < now - 1]
        chosen = {self.birth, *before[-1:]}
        rest = sorted((t for t in before if t not in chosen), key=lambda t: now - t)
        chosen |= set(rest[: self.num_resolving - len(chosen)])
        recent, t = [], now - 1
        if t not in self.resolving or t in chosen:
            while t > self.birth and not self.others.get(t):
                t -= 1
        if t > self.birth:
            recent.append(t)
            t = (t - 1) // self.stride * self.stride
            while t > self.birth and len(recent) < PLACES - len(chosen) + 1:
                if self.others.get(t):
                    recent.insert(0, t)
                t -= self.stride
        pointers = {(t, now - t) for t in chosen}
        for age in range(1, POINTERS):
            t = now - age
            if self.others.get(t) or (t in self.resolving and t not in chosen):
                pointers.add((t, age))
        return sorted(chosen), recent, pointers


@pytest.mark.parametrize('seed', range(5))
def test_slots_hold_what_the_rules_find_in_the_whole_past(seed):
    generator = np.random.default_rng(seed)
    memory, past, state = DAM4SAM(), WholePast(), None
    most = 0
    with torch.no_grad():
        for index in range(150):
            gone = generator.random() < 0.15 or 60 < index < 75
            pixels = 0 if gone else int(generator.integers(80, 115))
            frame = generator.uniform(0.7, 1.0), pixels, generator.uniform(0.4, 1.0)
            offered = entry(*frame, prompted=index == 0)
            state = memory.write(memory.init(offered) if state is None else state, offered)
            if index:
                past.offer(index, *frame)
            resolving, recent, pointers = past.reads(index + 1)
            stamps, latest = state.written_at[0, 0].tolist(), state.latest_at[0, 0].tolist()
            read = memory.frames_to_read(stamps, state.step)
            assert sorted(stamps[slot] for slot, place in read if not place) == resolving
            assert [(stamps[slot], place) for slot, place in read if place] == [
                (t, len(recent) - rank) for rank, t in enumerate(recent)
            ]
            found = memory._pointers_to_read(stamps, latest, state.step)
            assert {((stamps + latest)[slot], age) for slot, age in found} == pointers
            most = max(most, len(past.resolving))
    assert most > RESOLVING + 2, 'frames with distractors gave way'


@pytest.mark.parametrize(
    'options', [{}, dict(num_resolving=2, stride=3, interval=2, least_iou=0.85)], ids=str
)
def test_prompts_and_objects_that_join_later(options):
    """Two objects, of which the second joins at frame 20; each is prompted now and then."""
    generator = np.random.default_rng(1)
    memory, pasts, state = DAM4SAM(**options), [WholePast(**options), WholePast(20, **options)], None
    with torch.no_grad():
        for index in range(90):
            known = pasts[: 1 + (index >= 20)]
            frames = []
            for past in known:
                prompted = index == past.birth or (index > past.birth + 3 and generator.random() < 0.08)
                pixels = 0 if generator.random() < 0.1 else int(generator.integers(80, 115))
                frame = generator.uniform(0.7, 1.0), pixels, generator.uniform(0.4, 1.0), prompted
                frames.append(entry(*frame))
                past.offer(index, *frame)
            offered = frames[0]
            if len(frames) > 1:
                extras = {n: torch.cat([f.extras[n] for f in frames], 1) for n in offered.extras}
                key, value = (torch.cat([getattr(f, n) for f in frames], 1) for n in ('key', 'value'))
                offered = Entry(key, value, (1, 2), extras=extras)
            state = memory.init(offered) if state is None else state
            state = memory.add_objects(state, 1) if index == 20 else state
            state = memory.write(state, offered)
            for place, past in enumerate(known):
                resolving, recent, pointers = past.reads(index + 1)
                stamps, latest = state.written_at[0, place].tolist(), state.latest_at[0, place].tolist()
                read = memory.frames_to_read(stamps, state.step)
                assert sorted(stamps[slot] for slot, where in read if not where) == resolving
                assert [stamps[slot] for slot, where in read if where] == recent
                found = memory._pointers_to_read(stamps, latest, state.step)
                found = {((stamps + latest)[slot], age) for slot, age in found}
                # Frames with distractors and prompts that gave way take their pointers with them.
                gone = {
                    (t, age) for t, age in pointers if t in past.resolving and t not in resolving + recent
                }
                assert found == pointers - gone


def test_sizes_count_from_the_first_frame_on():
    """The median of 40, 120 and 100 is 100; without the first frame it were 110, too far from 100."""
    memory, state = DAM4SAM(size_change=0.05), None
    with torch.no_grad():
        for pixels in (40, 120, 100):
            offered = entry(0.9, pixels, 0.5, prompted=False)
            state = memory.init(offered) if state is None else state
            state = memory.write(state, offered)
    assert state.sizes_at[0, 0, -3:].tolist() == [0, 1, 2] and state.added_at.tolist() == [[2]]


def test_boxes_are_compared_as_published():
    generator = np.random.default_rng(0)
    for _ in range(30):
        masks = cv2.blur(generator.random((24, 24, 3)), (5, 5)).transpose(2, 0, 1) > 0.53
        taken, overlaps = masks[1], []
        x, y, width, height = cv2.boundingRect(taken.astype(np.uint8))
        for other in (masks[0], masks[2]):
            rest = np.logical_and(other, ~taken).astype(np.uint8)
            if not taken.any() or rest.sum() < 1:
                continue
            _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
            union = taken | (labels == 1 + np.argmax(stats[1:, 4]))
            u, v, wide, high = cv2.boundingRect(union.astype(np.uint8))
            across = min(x + width, u + wide) - max(x, u)
            down = min(y + height, v + high) - max(y, v)
            overlaps.append(across * down / (width * height + wide * high - across * down))
        assert least_overlap(masks, 1) == pytest.approx(min(overlaps, default=1.0), abs=1e-14)


def test_options():
    for options, message in (
        (dict(stride=0), r'DAM4SAM\.stride must be at least 1, got 0'),
        (dict(num_resolving=7), r'DAM4SAM\.num_resolving must be in 1\.\.6, got 7'),
        (dict(num_resolving=0), r'DAM4SAM\.num_resolving must be in 1\.\.6, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            DAM4SAM(**options)
    memory = DAM4SAM(num_resolving=5, stride=1, key='image', num_places=5, num_pointers=7)
    assert (memory.num_resolving, memory.stride, memory.slots.selector.stride) == (5, 1, 1)
    assert (memory.num_prompted, memory.slots.num_slots, memory.key) == (6, 5, 'image')
    assert (memory.num_places, memory.num_pointers, memory.by_rank) == (5, 7, True)
    assert len(memory.slots.gates) == 0 and DAM4SAM(num_resolving=1).num_resolving == 1
    default = DAM4SAM()
    assert (default.num_resolving, default.stride, default.interval) == (4, 5, 5)
    assert (default.least_iou, default.size_change, default.most_overlap) == (0.8, 0.2, 0.7)
    assert (default.num_places, default.num_pointers) == (6, 16)
