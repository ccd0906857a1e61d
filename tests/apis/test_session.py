"""Sessions: masks at any frame, both directions, corrections, going on with what was stopped."""

import numpy as np
import pytest
import torch
from helpers.vos_cases import SquaresVideo, tiny_model

from mmstremn.apis import VOSSession, session as module
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.utils.palette import encode_palette_png

T = 12


@pytest.fixture(scope='module')
def model():
    return tiny_model()


@pytest.fixture(scope='module')
def video():
    return SquaresVideo(T, appear=(0, 0))


def masks_of(results):
    return {result.index: result.ids for result in results}


def computed(model, video, masks, **options):
    """The ids of all frames of a session of its own."""
    with VOSSession(model, video, masks, **options) as session:
        return masks_of(session.run_in_order())


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def by_stream(model, video, masks, order):
    """By hand: one stream over frames in ``order``."""
    stream = model.new_stream()
    return {t: stream.step(video.frame(t), masks.get(t)).numpy() for t in order}


@pytest.fixture
def steps(monkeypatch):
    """The frames that streams compute, by their first pixel."""
    seen = []
    original = VOSStream.probabilities

    def probabilities(self, frame, *given):
        seen.append(frame.tobytes())
        return original(self, frame, *given)

    monkeypatch.setattr(VOSStream, 'probabilities', probabilities)
    return seen


def test_forwards_it_is_the_stream_that_everyone_uses(model, video):
    masks = {2: video.mask(2), 6: np.where(video.mask(6) == 3, 3, 0).astype(np.uint8)}
    found = computed(model, video, masks, direction='forward')
    assert list(found) == list(range(T))
    assert not found[0].any() and not found[1].any()
    assert equal({t: found[t] for t in range(2, T)}, by_stream(model, video, masks, range(2, T)))


def test_one_mask_in_the_middle_goes_both_ways(model, video, steps):
    masks = {5: video.mask(5)}
    found = computed(model, video, masks)
    assert len(steps) == T + 1
    expected = by_stream(model, video, masks, range(5, T)) | by_stream(model, video, masks, range(5, -1, -1))
    assert equal(dict(sorted(expected.items())), found)
    assert any(found[t].any() for t in range(5))


def test_where_two_masks_meet_the_nearer_wins_or_both_count(model, video):
    masks = {0: video.mask(0), T - 1: video.mask(T - 1)}
    there = by_stream(model, video, masks, range(T - 1))
    back = by_stream(model, video, masks, range(T - 1, 0, -1))
    middle = (T - 1) // 2
    nearer = {t: there[t] if t <= middle else back[t] for t in range(T)}
    assert equal(nearer, computed(model, video, masks))
    blended = computed(model, video, masks, merge='blend')
    assert not equal(nearer, blended)
    for t in (0, T - 1):
        assert np.array_equal(blended[t], video.mask(t))


def test_objects_given_at_different_frames_are_found_in_all(model, video):
    one, two = (np.where(video.mask(t) == k, k, 0).astype(np.uint8) for t, k in ((2, 3), (8, 6)))
    found = computed(model, video, {2: one, 8: two})
    assert np.array_equal(found[2] == 3, one == 3) and np.array_equal(found[8] == 6, two == 6)
    for t in range(T):
        assert set(np.unique(found[t])) <= {0, 3, 6}
    assert any((found[t] == 6).any() for t in range(8)) and any((found[t] == 3).any() for t in range(2))


def test_a_correction_computes_what_it_changes_and_equals_a_run_with_it(model, video, steps):
    masks = {0: video.mask(0), T - 1: video.mask(T - 1)}
    with VOSSession(model, video, masks) as session:
        list(session.run())
        assert session.pending() == []
        session.correct(4, video.mask(4))
        assert session.pending() == [3, 4, 5, 6, 7]
        steps.clear()
        assert {result.index for result in session.run()} == {3, 4, 5, 6, 7}
        assert len(steps) == 6
        after = masks_of(session.results())
        assert equal(after, computed(model, video, masks | {4: video.mask(4)}))
        session.forget(4)
        list(session.run())
        assert equal(masks_of(session.results()), computed(model, video, masks))


def test_a_session_goes_on_where_it_stopped(model, video, steps, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'STATE_INTERVAL', 3)
    masks = {T - 1: video.mask(T - 1), 2: np.where(video.mask(2) == 3, 3, 0).astype(np.uint8)}
    whole = computed(model, video, masks)
    session = VOSSession(model, video, masks, folder=tmp_path)
    run = session.run()
    given = [next(run).index for _ in range(4)]
    run.close()
    with open(tmp_path / 'frames.jsonl', 'a') as journal:
        journal.write('[7, "half')
    steps.clear()
    again = VOSSession(model, video, masks, folder=tmp_path)
    later = [result.index for result in again.run()]
    assert not set(given) & set(later) and {*given, *later} == set(range(T))
    assert len(steps) < 2 * T
    assert equal(masks_of(again.results()), whole)
    with pytest.raises(ValueError, match=r'holds results of another run \(frames: 12, now 8\)'):
        VOSSession(model, SquaresVideo(8), masks={}, folder=tmp_path)


def test_damaged_results_are_computed_anew_or_named(model, video, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'STATE_INTERVAL', 3)
    masks = {0: video.mask(0)}
    with VOSSession(model, video, masks, folder=tmp_path) as session:
        whole = masks_of(session.run_in_order())
    (tmp_path / 'masks/7.png').unlink()
    with open(tmp_path / 'frames.jsonl', 'ab') as journal:
        journal.write(
            b'[[3], "a list", {}, null]\n["3", "text", {}, null]\n\xff\xfe no text\n' + b'[' * 10**5
        )
    for state in (tmp_path / 'states').iterdir():
        state.with_stem(f'{state.stem} (copy)').touch()
    with VOSSession(model, video, masks, folder=tmp_path) as session:
        assert session.pending() == [7] and equal(masks_of(session.run_in_order()), whole)
    mask = tmp_path / 'masks/4.png'
    for content, message in (
        (mask.read_bytes()[:50], r'4\.png: damaged .* computed anew'),
        (encode_palette_png(np.zeros((2, 3), np.uint8)), r'frame 4 is \(2, 3\), expected'),
    ):
        mask.write_bytes(content)
        with (
            VOSSession(model, video, masks, folder=tmp_path) as session,
            pytest.raises(ValueError, match=message),
        ):
            session.result(4)


def test_damaged_parts_are_named(model, video, tmp_path):
    masks = {0: video.mask(0), T - 1: video.mask(T - 1)}
    session = VOSSession(model, video, masks, merge='blend', folder=tmp_path)
    run = session.run()
    next(run)  # the first frames; others wait for the second span
    while not (parts := sorted((tmp_path / 'parts').iterdir())):
        next(run)
    run.close()
    for part in parts:
        part.write_bytes(part.read_bytes()[:30])
    with VOSSession(model, video, masks, merge='blend', folder=tmp_path) as session:
        with pytest.raises(ValueError, match=r'parts/\d+-\w+: damaged'):
            list(session.run())
        for part in parts:
            part.unlink()
        assert len(list(session.run_in_order())) == T


def test_confidence_and_slots_are_those_of_the_frame(model, video):
    with VOSSession(model, video, {5: video.mask(5)}) as session:
        results = {result.index: result for result in session.run()}
    assert results[5].confidence == {3: 1.0, 6: 1.0}
    assert all(0 <= value <= 1 for result in results.values() for value in result.confidence.values())
    assert set(results[0].slots) == {0, 1, 2} and set(results[5].slots) == {-1, 5}


def test_an_object_is_removed(model, video):
    with VOSSession(model, video, {5: video.mask(5)}) as session:
        list(session.run())
        session.remove(3)
        list(session.run())
        found = masks_of(session.results())
        assert equal(found, computed(model, video, {5: np.where(video.mask(5) == 6, 6, 0).astype(np.uint8)}))
        with pytest.raises(ValueError, match=r'no object 9: there are \[6\]'):
            session.remove(9)


def only(mask, k):
    return np.where(mask == k, k, 0).astype(np.uint8)


def test_an_object_is_removed_from_a_frame_on(model, video):
    masks, stream, expected = {0: video.mask(0)}, model.new_stream(), {}
    for t in range(T):
        if t == 4:
            stream.remove(3)
        expected[t] = stream.step(video.frame(t), masks.get(t)).numpy()
    assert equal(computed(model, video, masks, removals={4: [3]}), expected)
    with VOSSession(model, video, masks) as session:
        list(session.run())
        session.remove(3, frame=4)
        assert session.pending() == list(range(4, T))
        list(session.run())
        assert equal(masks_of(session.results()), expected)
        with pytest.raises(ValueError, match='frame 0: object 3 is given and removed'):
            session.remove(3, frame=0)
        session.correct(4, only(video.mask(4), 3))
        list(session.run())
        assert 3 in session.result(T - 1).ids
        session.remove(3, frame=5)
        session.remove(6, frame=5)
        list(session.run())
        assert [k for k in range(T) if session.result(k).ids.any()] == [0, 1, 2, 3, 4]
        session.correct(2, only(video.mask(2), 6))
        for frame in (0, 4):
            session.forget(frame)
        assert session.plan.removals == {5: {6}}


def test_an_object_that_is_removed_comes_back_with_its_next_masks(model, video):
    """Backwards it is in no frame before these."""
    masks = {2: video.mask(2), 9: only(video.mask(9), 3)}
    found, before = computed(model, video, masks, removals={5: [3]}), computed(model, video, masks)
    assert all(np.array_equal(found[t], before[t]) for t in range(3))
    stream = model.new_stream()
    for t in range(2, T):
        if t == 5:
            stream.remove(3)
        assert np.array_equal(found[t], stream.step(video.frame(t), masks.get(t)).numpy())


def test_a_session_without_masks_waits_for_them(model, video):
    with VOSSession(model, video) as session:
        assert session.pending() == [] and list(session.run()) == [] and session.object_ids == []
        assert not session.result(3).ids.any()
        with pytest.raises(ValueError, match='masks of frame 12 of squares0: expected a frame'):
            session.correct(T, video.mask(0))
        session.correct(3, torch.from_numpy(video.mask(3)))
        assert session.keyframes == [3] and len(session.pending()) == T
