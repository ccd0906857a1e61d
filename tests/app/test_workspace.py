"""What a user of the web app does, without the page: the smallest model, tiny videos."""

import csv
import json
import threading
import zipfile

import numpy as np
import pytest
from helpers.sam2_cases import SAM2, random_weights
from helpers.video_files import write
from helpers.vos_cases import SquaresVideo, tiny_model

from mmstremn.adapters.sam2 import Sam2Segmentor
from mmstremn.app.choices import AS_TRAINED, GROWING, SELECTORS, Choice, Models
from mmstremn.app.grabcut import mask_in_box
from mmstremn.app.page import painted_mask
from mmstremn.app.pictures import LONGER_SIDES, fitted
from mmstremn.app.uploads import Limits
from mmstremn.app.workspace import Workspace
from mmstremn.app.workspaces import IDLE, STAYS, Workspaces
from mmstremn.memory import FIFOSelector, GrowingMemory
from mmstremn.utils.palette import encode_palette_png

T = 6
SQUARES = SquaresVideo(T, size=(40, 56))


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return write(tmp_path_factory.mktemp('clip') / 'a b.mp4', 'h264', frames=T, make=SQUARES.frame)


@pytest.fixture(scope='module')
def models():
    return Models({'tiny': tiny_model}, 'tiny')


@pytest.fixture
def workspace(models, clip, tmp_path):
    workspace = Workspace(models, parent=tmp_path)
    workspace.open(clip)
    yield workspace
    workspace.close()
    assert not list(tmp_path.glob('mmstremn-app-*'))


def square(index):
    return SQUARES.mask(index) > 0


def run(workspace):
    return list(workspace.run(every=0))


def written(workspace, *names):
    assert [step.done for step in workspace.write(names)] == list(range(1, T + 1))
    return workspace.files


def all_ids(workspace, choice=None):
    return np.stack([workspace.ids(t, choice) for t in range(T)])


def test_a_box_is_refined_to_the_object():
    frame, whole = np.full((60, 80, 3), (20, 90, 30), np.uint8), np.zeros((60, 80), bool)
    frame[20:40, 30:50] = (220, 40, 40)
    whole[20:40, 30:50] = True
    assert np.array_equal(mask_in_box(frame, (60, 50, 22, 12)), whole)
    assert mask_in_box(frame, (0, 0, 500, 500)).all()  # nothing beside it
    large = mask_in_box(frame.repeat(8, 0).repeat(8, 1), (176, 96, 480, 400))
    assert abs(large.mean() - whole.mean()) < 0.005
    with pytest.raises(ValueError, match='2 x 2 pixels'):
        mask_in_box(frame, (90, 10, 120, 20))


def test_mark_run_correct_and_run_again(workspace):
    k = workspace.add_object('cup')
    workspace.mark(0, k, square(0))
    assert workspace.pending == T and (workspace.ids(0) == k * square(0)).all()
    steps = run(workspace)
    assert [step.done for step in steps] == list(range(1, T + 1)) and steps[-1].total == T
    assert steps[-1].picture.shape == (686, 960, 3) and steps[0].seconds_left >= 0
    assert workspace.pending == 0 and len(workspace.review()) == 1
    before = all_ids(workspace)
    workspace.mark(4, k, np.zeros((40, 56), bool))  # not in this frame
    assert not workspace.ids(4).any()
    assert {step.index for step in run(workspace)} == {3, 4, 5}  # frames nearer to it than to frame 0
    after = all_ids(workspace)
    assert np.array_equal(before[:3], after[:3]) and not after[4].any()
    workspace.forget(4)
    run(workspace)
    assert np.array_equal(all_ids(workspace), before)
    workspace.forget(0)
    assert not all_ids(workspace).any() and workspace.pending == 0


def test_brush_adds_and_erases_and_objects_come_and_go(workspace):
    first, second = workspace.add_object(), workspace.add_object('second')
    half = np.zeros((40, 56), bool)
    half[:20] = True
    workspace.mark(0, first, half)
    workspace.mark(0, first, square(0), 'add')
    workspace.mark(0, first, half, 'erase')
    assert np.array_equal(workspace.ids(0) == first, square(0) & ~half)
    workspace.mark(0, first, square(0))
    run(workspace)
    workspace.mark(3, second, ~half)
    assert np.array_equal(workspace.ids(3) == second, ~half)
    assert workspace.labels == {first: 'object 1', second: 'second'}
    workspace.remove_object(second)
    assert second not in all_ids(workspace) and workspace.add_object() == second
    with pytest.raises(ValueError, match='no object 9'):
        workspace.mark(0, 9, half)


def test_masks_from_files(workspace, tmp_path):
    (tmp_path / 'm.png').write_bytes(encode_palette_png(SQUARES.mask(2)))
    assert workspace.load_masks(2, tmp_path / 'm.png') == [3] and workspace.labels == {3: 'object 3'}
    assert np.array_equal(workspace.ids(2), SQUARES.mask(2))
    (tmp_path / 'n.png').write_bytes(encode_palette_png(np.ones((9, 9), np.uint8)))
    with pytest.raises(ValueError, match=r'^n.png: size \(9, 9\)'):
        workspace.load_masks(2, tmp_path / 'n.png')
    (tmp_path / 'o.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'^o.png'):
        workspace.load_masks(2, tmp_path / 'o.png')


def test_a_run_is_cancelled_and_goes_on(workspace):
    with pytest.raises(ValueError, match='mark one first'):
        next(workspace.run())
    k = workspace.add_object()
    workspace.mark(0, k, square(0))
    running = workspace.run()
    next(running), next(running)
    workspace.cancel()
    assert not list(running) and workspace.pending == T - 2
    running = workspace.run()
    next(running)
    workspace.mark(T - 1, k, square(T - 1))  # an edit ends it too
    assert not list(running)
    assert len(run(workspace)) == T - 3 and workspace.pending == 0


def test_memories_are_compared(workspace, models):
    workspace.mark(0, workspace.add_object(), square(0))
    run(workspace)
    trained = workspace.choice
    held = workspace.held(T - 1)
    assert [slot.slot for slot in held] == [0, 1, 2] and all(0 <= slot.frame < T for slot in held)
    assert held[0].picture.shape == (90, 126, 3)
    assert workspace.timeline().ndim == 3
    workspace.choose(Choice('tiny', next(iter(SELECTORS)), 2))
    assert isinstance(models.get(workspace.choice).memory.selector, FIFOSelector)
    assert workspace.timeline() is None and workspace.pending == T
    run(workspace)
    assert len(workspace.held(T - 1)) == 2 and workspace.choices == [trained, workspace.choice]
    assert workspace.picture(3, trained).shape == workspace.picture(3).shape
    workspace.choose(Choice('tiny', GROWING))
    next(workspace.run())
    assert workspace.timeline() is None and not workspace.held(3)
    workspace.choose(Choice('tiny', AS_TRAINED, 5))
    assert trained not in workspace.choices and str(workspace.choice) == 'tiny, as trained, 5 slots'
    with pytest.raises(ValueError, match=r'expected 1\.\.32'):
        workspace.choose(Choice('tiny', AS_TRAINED, 99))
    assert workspace.choice.slots == 5


def test_a_memory_without_slots_has_no_choice():
    models = Models({'tiny': lambda: tiny_model(dict(type='GrowingMemory'))}, 'tiny')
    assert isinstance(models.get(Choice('tiny')).memory, GrowingMemory)
    with pytest.raises(ValueError, match='GrowingMemory has no number of slots'):
        models.get(Choice('tiny', slots=3))
    for wrong in (Choice('other'), Choice('tiny', 'other')):
        with pytest.raises(ValueError, match="'other': expected one of"):
            models.get(wrong)


@pytest.fixture(scope='module')
def tracker():
    model = Sam2Segmentor(tracker=SAM2).eval()
    random_weights(model.tracker, 0)
    return model


@pytest.fixture
def pointed(tracker, clip, tmp_path):
    """A workspace whose first model takes points."""
    workspace = Workspace(Models({'sam2': lambda: tracker, 'tiny': tiny_model}, 'sam2'), parent=tmp_path)
    workspace.open(clip)
    yield workspace
    workspace.close()


def test_points_and_boxes_go_to_models_that_take_them(pointed, tracker, clip):
    k, other = pointed.add_object(), pointed.add_object()
    with pytest.raises(ValueError, match='click on the object first'):
        pointed.mark_point(0, k, 9, 9, on=False)
    pointed.mark_point(0, k, 9, 9)
    pointed.mark_point(0, k, 40, 30, on=False)
    pointed.mark_box(0, other, (50, 90, 20, 5))
    points, boxes = {k: [(9, 9, 1), (40, 30, 0)]}, {other: (20, 5, 50, 40)}
    stream = tracker.start(pointed.video.frame(0), points=points, boxes=boxes)
    found = pointed.ids(0)
    assert set(np.unique(found)) == {0, k, other}  # before anything is run
    run(pointed)
    assert np.array_equal(pointed.ids(0), found) and pointed.num_points(0, k) == 2
    expected = [found] + [stream.step(pointed.video.frame(t)).numpy() for t in range(1, T)]
    assert np.array_equal(all_ids(pointed), expected)
    pointed.undo_point(0, k)
    assert pointed.num_points(0, k) == 1 and pointed.pending == T
    pointed.undo_point(0, k)
    assert k not in pointed.ids(0) and pointed.num_points(0, k) == 0
    with pytest.raises(ValueError, match='no point in this frame'):
        pointed.undo_point(0, k)


def test_a_correction_by_points_speaks_of_all_objects(pointed):
    k, other = pointed.add_object(), pointed.add_object()
    pointed.mark(0, other, square(0))
    pointed.mark_point(0, k, 50, 35)
    run(pointed)
    before = all_ids(pointed)
    pointed.mark_point(4, k, 5, 35)
    assert pointed.pending == T - 3  # frames nearer to it than to frame 0
    run(pointed)
    assert np.array_equal(all_ids(pointed)[:3], before[:3])


def test_points_refine_the_mask_that_is_shown(pointed, tracker):
    """One beside the object too; further points refine the same mask; taken back, the frame is as before."""
    k, other = pointed.add_object(), pointed.add_object()
    pointed.mark(0, k, square(0))
    pointed.mark_box(0, other, (2, 22, 20, 38))
    run(pointed)
    before = all_ids(pointed)
    assert (before[4] == k).any() and (before[4] == other).any()
    for number, point in enumerate(([9, 9, 0], [30, 20, 1]), 1):
        pointed.mark_point(4, k, *point[:2], on=bool(point[2]))
        assert pointed.num_points(4, k) == number
    stream = tracker.new_stream()
    given = dict(masks=before[4], points={k: [(9, 9, 0), (30, 20, 1)]})
    refined = stream.step(pointed.video.frame(4), **given).numpy()
    assert np.array_equal(pointed.ids(4), refined) and not np.array_equal(refined, before[4])
    run(pointed)
    assert np.array_equal(pointed.ids(4), refined)
    pointed.undo_point(4, k)
    assert not np.array_equal(pointed.ids(4), refined)
    pointed.undo_point(4, k)
    assert pointed.keyframes == [0]
    run(pointed)
    assert np.array_equal(all_ids(pointed), before)


def test_points_refine_a_mask_by_the_user_which_stays_when_they_go(pointed):
    k, other = pointed.add_object(), pointed.add_object()
    pointed.mark(0, k, square(0))
    pointed.mark_point(0, k, 3, 35, on=False)
    assert not np.array_equal(pointed.ids(0) == k, square(0))
    pointed.choose(Choice('tiny'))
    pointed.choose(Choice('sam2'))
    pointed.undo_point(0, k)
    assert np.array_equal(pointed.ids(0) == k, square(0))
    pointed.mark_point(0, k, 3, 35)
    pointed.mark(0, k, square(1))  # in the place of both
    assert np.array_equal(pointed.ids(0) == k, square(1)) and not pointed.num_points(0, k)
    run(pointed)
    pointed.mark(3, other, square(0))
    pointed.mark_point(3, k, 40, 30)
    pointed.undo_point(3, k)
    assert pointed.keyframes == [0, 3] and np.array_equal(pointed.ids(3) == other, square(0))
    pointed.remove_object(other)
    assert not (all_ids(pointed) == other).any()


def test_other_models_are_given_the_masks_of_points(pointed):
    k = pointed.add_object()
    pointed.mark_point(0, k, 9, 9)
    found = pointed.ids(0)
    pointed.choose(Choice('tiny'))
    assert not pointed.takes_points and np.array_equal(pointed.ids(0), found)
    with pytest.raises(ValueError, match='VOSegmentor cannot use them'):
        pointed.mark_point(0, k, 3, 3)
    pointed.choose(Choice('sam2'))
    pointed.mark_point(0, k, 40, 30, on=False)
    found = pointed.ids(0)
    pointed.choose(Choice('tiny'))
    assert np.array_equal(pointed.ids(0), found)
    run(pointed)


def test_memories_of_trackers(pointed, tracker):
    models = pointed.models
    assert models.memories('sam2') == [AS_TRAINED, *SELECTORS]
    k = pointed.add_object()
    pointed.mark_point(0, k, 9, 9)
    for memory in models.memories('sam2'):
        pointed.choose(Choice('sam2', memory, 2))
        chosen = models.get(pointed.choice)
        assert chosen.tracker is tracker.tracker and chosen.memory.slots.num_slots == 2
        run(pointed)
        assert pointed.timeline() is not None and 1 <= len(pointed.held(T - 1)) <= 3
    assert tracker.memory.slots.num_slots == 6
    with pytest.raises(ValueError, match=r'growing.*expected one of'):
        models.get(Choice('sam2', GROWING))


def test_downloads(workspace, tmp_path):
    k = workspace.add_object('cup')
    with pytest.raises(ValueError, match='run first'):
        next(workspace.write(['masks']))
    workspace.mark(0, k, square(0))
    run(workspace)
    masks, video, annotations, table = written(workspace, 'masks', 'overlay', 'coco', 'csv')
    assert len(zipfile.ZipFile(masks).namelist()) == T + 1 and video.stat().st_size > 0
    assert 'cup' in [entry['name'] for entry in json.loads(annotations.read_text())['categories']]
    with open(table) as file:
        assert len(list(csv.reader(file))) == T + 1
    with pytest.raises(ValueError, match='choose at least one'):
        next(workspace.write([]))


def test_uploads_are_limited_and_a_bad_one_changes_nothing(workspace, clip, tmp_path, models):
    text = tmp_path / 'a.txt'
    text.write_text('no video')
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video at all' * 99)
    playlist = tmp_path / 'list.mp4'
    playlist.write_text(f'#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n#EXT-X-ENDLIST\n')
    for path, message in (
        (text, r'^a\.txt: expected a video'),
        (bad, r'^bad\.mp4: exp'),
        (playlist, r'^list'),
    ):
        with pytest.raises(ValueError, match=message):
            workspace.open(path)
    assert workspace.video.name == 'a b' and len(list(workspace.folder.iterdir())) == 1
    for limit, message in (
        (dict(megabytes=0), 'at most 0 MB'),
        (dict(frames=3), f'{T} frames, expected at most 3'),
        (dict(megapixels=0.001), '56 x 40 pixels'),
    ):
        other = Workspace(models, Limits(**limit), tmp_path)
        with pytest.raises(ValueError, match=message):
            other.open(clip)
        with pytest.raises(ValueError, match='drop one first'):
            other.picture(0)
        other.close()


def test_another_video_takes_the_place_of_the_first(workspace, clip):
    workspace.mark(0, workspace.add_object(), square(0))
    run(workspace)
    workspace.open(clip)
    assert not workspace.labels and not workspace.choices and workspace.pending == 0
    assert len(list(workspace.folder.iterdir())) == 1


def test_two_users_at_once_do_not_mix(models, clip, tmp_path):
    def work(workspace, frame):
        workspace.open(clip)
        workspace.mark(frame, workspace.add_object(), square(frame))
        run(workspace)

    alone = []
    for frame in (0, 4):
        workspace = Workspace(models, parent=tmp_path)
        work(workspace, frame)
        alone.append(all_ids(workspace))
        workspace.close()
    workspaces = Workspaces(lambda: Workspace(models, parent=tmp_path))
    users = [workspaces.get(key) for key in 'ab']
    threads = [threading.Thread(target=work, args=job) for job in zip(users, (0, 4), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not np.array_equal(*alone)
    assert all(np.array_equal(all_ids(user), ids) for user, ids in zip(users, alone, strict=True))
    workspaces.close()
    assert not list(tmp_path.iterdir())


def test_workspaces_that_are_left_go(models, tmp_path):
    now = [0.0]
    workspaces = Workspaces(lambda: Workspace(models, parent=tmp_path), 2, lambda: now[0])
    first = workspaces.get('a')
    workspaces.leave('a')
    now[0] = STAYS - 1
    assert workspaces.get('a') is first  # the connection came back
    workspaces.get('b')
    with pytest.raises(ValueError, match='2 users are at work'):
        workspaces.get('c')
    workspaces.leave('b')
    now[0] += STAYS
    assert workspaces.get('c') and len(workspaces) == 2 and first.folder.exists()
    now[0] += IDLE
    workspaces.sweep()
    assert not len(workspaces) and not list(tmp_path.iterdir())


def test_pictures_are_neither_smaller_nor_larger_than_the_screen_needs(workspace):
    least, most = LONGER_SIDES
    assert fitted(np.zeros((10, 4 * most, 3), np.uint8)).shape == (2, most, 3)
    assert fitted(np.zeros((1000, 500, 3), np.uint8)).shape == (1000, 500, 3)
    assert workspace.picture(0).shape == (round(40 * least / 56), least, 3)
    assert workspace.in_video([0, 100, least - 1, 685]) == (0, 5, 55, 39)


def test_what_is_painted_is_read_in_the_size_of_the_video():
    layer = np.zeros((20, 40, 4), np.uint8)
    layer[:10, :, 3] = 255
    assert painted_mask(dict(layers=[layer]), (40, 80))[:19].all()
    for nothing in (None, dict(layers=[]), dict(layers=[np.zeros_like(layer)])):
        with pytest.raises(ValueError, match='nothing is painted'):
            painted_mask(nothing, (40, 80))
