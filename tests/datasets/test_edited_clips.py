"""Clips and test videos in which objects are away for a while."""

import numpy as np
import pytest
import torch
from helpers.davis_tree import add_sequence, draw_ids

from mmstremn.datasets import DAVISDataset, SampleRequest, VideoWithForeignShots
from mmstremn.datasets.vos.edits import EDITS, Clip
from mmstremn.registry import DATASETS

SPAN = slice(2, 4)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('DAVIS')
    for name, ids in (('a', (1,)), ('b', (1, 2)), ('c', (1,))):
        add_sequence(folder, name, [draw_ids(index, ids) for index in range(7)], split='train')
    return folder


def edited(root, **kwargs):
    source = dict(type='DAVISDataset', data_root=str(root), clip_length=6, reverse_prob=0)
    return DATASETS.build(dict(type='EditedClips', dataset=source, **kwargs))


def make_clip(seed, objects=2):
    g = torch.Generator().manual_seed(seed)
    masks = torch.zeros(5, 40, 48, dtype=torch.uint8)
    masks[:, 4:14, 4:14] = 1
    masks[:, 24:34, 30:40] = objects
    return Clip(torch.randint(0, 256, (5, 3, 40, 48), dtype=torch.uint8, generator=g), masks)


def run(name, seed=0, objects=2):
    before, other = make_clip(1, objects), make_clip(2)
    clip = Clip(*(part.clone() for part in before))
    EDITS[name](clip, SPAN, other, np.random.default_rng(seed))
    return before, clip, other


@pytest.mark.parametrize('name', EDITS)
def test_an_edit_changes_its_span_alone(name):
    before, clip, _ = run(name)
    outside = [0, 1, 4]
    assert torch.equal(clip.frames[outside], before.frames[outside])
    assert torch.equal(clip.masks[outside], before.masks[outside])
    assert not torch.equal(clip.frames[SPAN], before.frames[SPAN])


def test_nothing_of_the_clip_is_left_in_a_foreign_scene():
    _, clip, other = run('cut_away')
    assert torch.equal(clip.frames[SPAN], other.frames[SPAN]) and not clip.masks[SPAN].any()


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('name', ['hide', 'erase'])
def test_one_object_disappears_and_none_of_its_pixels_stays(name, seed):
    before, clip, _ = run(name, seed)
    gone = [k for k in (1, 2) if not (clip.masks[SPAN] == k).any()]
    assert gone
    for k in gone:
        region = before.masks[SPAN] == k
        same = (clip.frames[SPAN] == before.frames[SPAN]).all(1)
        assert (same & region).sum() < 0.02 * region.sum()


def test_transplanted_objects_keep_their_pixels_and_masks():
    before, clip, other = run('transplant')
    inside = (before.masks[SPAN] > 0).unsqueeze(1).expand(-1, 3, -1, -1)
    assert torch.equal(clip.masks, before.masks)
    assert torch.equal(clip.frames[SPAN][inside], before.frames[SPAN][inside])
    assert torch.equal(clip.frames[SPAN][~inside], other.frames[SPAN][~inside])


def test_a_clip_is_a_function_of_its_request_and_keeps_its_first_frame(root):
    data, plain = edited(root), DAVISDataset(data_root=str(root), clip_length=6, reverse_prob=0)
    changed = 0
    for seed in range(8):
        request = SampleRequest(seed % 3, seed)
        item, again, source = data[request], data[request], plain[request]
        assert torch.equal(item['inputs'], again['inputs'])
        assert torch.equal(item['data_samples'].masks, again['data_samples'].masks)
        assert torch.equal(item['inputs'][0], source['inputs'][0])
        assert torch.equal(item['data_samples'].masks[0], source['data_samples'].masks[0])
        changed += not torch.equal(item['data_samples'].masks, source['data_samples'].masks)
    assert changed >= 3


def test_without_edits_clips_are_those_of_the_source(root):
    item = edited(root, edits=dict(none=1))[SampleRequest(1, 5)]
    source = DAVISDataset(data_root=str(root), clip_length=6, reverse_prob=0)[SampleRequest(1, 5)]
    assert torch.equal(item['inputs'], source['inputs'])


def test_an_unknown_edit_and_a_single_video_are_errors(root, tmp_path):
    with pytest.raises(ValueError, match=r"unknown \['cut'\].*cut_away"):
        edited(root, edits=dict(cut=1))
    for edits in ({}, dict(hide=0), dict(hide=-1, none=3)):
        with pytest.raises(ValueError, match=r'EditedClips\.edits: expected numbers of at least 0'):
            edited(root, edits=edits)
    with pytest.raises(ValueError, match=r'EditedClips\.max_edits: expected at least 1, got 0'):
        edited(root, max_edits=0)
    with pytest.raises(TypeError, match=r'EditedClips\.max_edit: .* Did you mean max_edits\?'):
        edited(root, max_edit=1)
    with pytest.raises(TypeError, match=r'EditedClips\.reverse_pro: .* Did you mean reverse_prob\?'):
        edited(root, reverse_pro=1)
    add_sequence(tmp_path, 'a', [draw_ids(index) for index in range(7)], split='train')
    with pytest.raises(ValueError, match="all of the video 'a'"):
        edited(tmp_path, edits=dict(cut_away=1))[0]


def test_foreign_shots_lie_between_those_of_a_video(root):
    shots = dict(shot_length=3, foreign_length=2)
    data = DAVISDataset(data_root=str(root), test_mode=True, foreign_shots=shots)
    plain = [
        item['inputs']
        for item in map(DAVISDataset(data_root=str(root), test_mode=True).__getitem__, range(3))
    ]
    item = data[0]
    video = item['inputs']
    assert (video.name, video.num_frames, item['data_samples'].object_ids) == ('a', 11, [1])
    own = [0, 1, 2, 5, 6, 7, 10]
    for place, index in enumerate(own):
        assert np.array_equal(video.frame(index), plain[0].frame(place))
        assert np.array_equal(video.mask(index), plain[0].mask(place))
    assert not any(video.mask(index).any() for index in (3, 4, 8, 9))
    assert [video.places[index][0].name for index in (3, 4, 8, 9)] == ['b', 'b', 'c', 'c']
    assert len(video.annotated) == 11


def test_foreign_shots_need_another_video_and_lengths(root):
    video = DAVISDataset(data_root=str(root), test_mode=True)[0]['inputs']
    with pytest.raises(ValueError, match='at least one video of another name'):
        VideoWithForeignShots(video, [video])
    with pytest.raises(ValueError, match='shot_length 0'):
        VideoWithForeignShots(video, [], shot_length=0)
