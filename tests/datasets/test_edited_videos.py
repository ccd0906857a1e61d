"""Videos edited from the sequences of a data set."""

import itertools

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_ids

from mmstremn.datasets.vos.edit_scripts import Cast, EditStyle, draw_script
from mmstremn.datasets.vos.edited_videos import LOOKS
from mmstremn.registry import DATASETS
from mmstremn.structures.video import Video

LENGTHS = (7, 11, 23, 5, 16)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('DAVIS')
    for name, length in zip('abcde', LENGTHS, strict=True):
        add_sequence(folder, name, [draw_ids(index % 7, (1,)) for index in range(length)], split='val')
    return folder


def edited(root, **kwargs):
    source = dict(type='DAVISDataset', data_root=str(root), split='val', test_mode=True)
    options = dict(num_videos=3, num_frames=(100, 140), size=(40, 48), style=dict(objects=(2, 3)))
    return DATASETS.build(dict(type='EditedVideoDataset', dataset=source, **options | kwargs))


def script(seed, steps=200, **style):
    rng = np.random.default_rng(seed)
    cast = Cast([0, 1, 2], [3, 4], [4])
    return draw_script(steps, [9, 5, 7, 8, 6], cast, EditStyle(**style), rng)


def test_videos_follow_from_the_seed(root):
    first, again, other = edited(root), edited(root, num_videos=1), edited(root, seed=1)
    assert first[0]['inputs'].shots == again[0]['inputs'].shots
    assert first[0]['inputs'].shots != first[1]['inputs'].shots != other[0]['inputs'].shots
    assert np.array_equal(first[0]['inputs'].frame(57), again[0]['inputs'].frame(57))


def test_a_test_item_is_a_video_with_all_its_masks(root):
    for item in edited(root):
        video = item['inputs']
        assert 100 <= video.num_frames <= 140 and video.num_frames % 5 == 0
        assert len(video.annotated) == video.num_frames
        assert item['data_samples'].object_ids == video.object_ids
        for index in range(0, video.num_frames, 7):
            frame, mask = video.frame(index), video.mask(index)
            assert frame.shape == (40, 48, 3) and frame.dtype == mask.dtype == np.uint8
            assert mask.shape == (40, 48)
            assert set(np.unique(mask)) <= {0, video.shot_at(index)[0].object_id, 255}
        with pytest.raises(IndexError, match='has frames 0'):
            video.frame(video.num_frames)


def test_prompts_are_what_any_video_gives(root):
    for item in edited(root):
        video = item['inputs']
        expected = Video.prompts.func(video)
        assert video.prompts.keys() == expected.keys()
        assert all(np.array_equal(video.prompts[index], expected[index]) for index in expected)


def test_objects_come_back_more_often_than_once(root):
    video = edited(root, num_frames=(300, 300))[0]['inputs']
    for number in video.object_ids:
        assert sum(shot.object_id == number for shot in video.shots) > 1


@pytest.mark.parametrize('direction', [-1, 0, 1])
def test_frames_at_whole_steps_are_those_of_the_sequence(root, direction):
    video = edited(root)[0]['inputs']
    video.shots = [shot._replace(direction=direction) for shot in video.shots]
    for index in range(0, video.num_frames, 5):
        shot, place = video.shot_at(index)
        assert place % 5 == 0
        assert place < video.sequences[shot.source].video.num_frames


def test_a_script_fills_the_video_and_never_repeats_the_last_object():
    shots = script(0)
    assert sum(shot.length for shot in shots) == 200
    assert {shot.object_id for shot in shots} == {0, 1, 2, 3}
    own = [shot.object_id for shot in shots if shot.object_id]
    assert all(a != b for a, b in itertools.pairwise(own))
    assert all(shot.source == {0: shot.source, 1: 0, 2: 1, 3: 2}[shot.object_id] for shot in shots)
    assert {shot.source for shot in shots if not shot.object_id} == {3, 4}


@pytest.mark.parametrize(
    'style, share, expected',
    [
        (dict(foreign=0), lambda shot: shot.object_id == 0, 0),
        (dict(looks=dict(plain=1)), lambda shot: shot.look != 'plain', 0),
        (dict(freezes=1, replays=0, looks=dict(dark=1)), lambda shot: shot.look == shot.direction == 1, 0),
    ],
)
def test_the_style_decides(style, share, expected):
    assert sum(map(share, script(1, **style))) == expected


def test_favourites_come_more_often():
    def most(**style):
        own = [shot.object_id for shot in script(3, steps=3000, alternation=0, **style) if shot.object_id]
        counts = sorted(np.bincount(own)[1:] / len(own))
        return counts[-1] - counts[0]

    assert most(favourites=3) > most(favourites=0) + 0.1


@pytest.mark.parametrize('look', LOOKS)
def test_looks_keep_sizes_and_ids(look):
    frame = np.full((20, 30, 3), 100, np.uint8)
    mask = np.zeros((20, 30), np.uint8)
    mask[2:8, 20:26] = 1
    shown, ids = LOOKS[look](frame, mask)
    assert shown.shape == frame.shape and ids.shape == mask.shape
    assert set(np.unique(ids)) == {0, 1}
    assert (ids.sum() > 2 * mask.sum()) == (look == 'close')
    assert not LOOKS[look](frame, np.zeros_like(mask))[1].any()


def test_nonsense_is_refused(root):
    with pytest.raises(ValueError, match=r"looks: unknown \['upside_down'\]"):
        edited(root, style=dict(looks=dict(upside_down=1)))
    with pytest.raises(TypeError, match=r'EditedVideoDataset\.style\.look: .* Did you mean looks\?'):
        edited(root, style=dict(look={}))
    with pytest.raises(ValueError, match='expected at least 9 sequences, one for each object, got 5'):
        edited(root, style=dict(objects=(2, 9)))
    with pytest.raises(ValueError, match='expected at least one step of 5 frames'):
        edited(root, num_frames=(3, 10))


def test_look_alikes_are_preferred():
    cast, style = Cast([0], [1, 2], [2]), EditStyle(objects=(1, 1), look_alikes=1, foreign=0.5)
    shots = draw_script(300, [5, 5, 5], cast, style, np.random.default_rng(0))
    assert {shot.source for shot in shots if not shot.object_id} == {2}


def test_synthetic_videos_can_be_edited():
    source = dict(type='SyntheticVOSDataset', split='dev', num_videos=4, num_frames=12, size=(48, 48))
    options = dict(num_videos=1, num_frames=(60, 60), size=(48, 48), style=dict(objects=(2, 3)))
    video = DATASETS.build(dict(type='EditedVideoDataset', dataset=source, **options))[0]['inputs']
    assert video.object_ids and video.frame(59).shape == (48, 48, 3)
