"""The embedded data: exact, reproducible, endless, offline, and as hard as it claims to be."""

import pickle
import runpy
import socket
from dataclasses import replace

import cv2
import numpy as np
import pytest
from helpers.runs import ROOT
from PIL import Image

from mmstremn.datasets import DAVISDataset, SampleRequest, SyntheticVOSDataset, Video
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS, load_photograph
from mmstremn.datasets.synthetic.rendered_video import SyntheticVideo, _render
from mmstremn.datasets.synthetic.scene import SceneSpec, build_scene
from mmstremn.datasets.synthetic.short_videos import scene_seed

CONVERTER = ROOT / 'tools' / 'dataset_converters' / 'synthetic_to_davis.py'
SIZE = (72, 96)


def make_video(seed, num_frames=30, split='test', size=SIZE, **kwargs):
    return SyntheticVideo(SceneSpec(split, seed, size, **kwargs), num_frames, f'video{seed}')


@pytest.fixture
def no_cache():
    """Forget scenes, frames and photographs."""

    def clear():
        for cached in (_render, build_scene, load_photograph):
            cached.cache_clear()

    clear()
    return clear


def region(scene, layer, time):
    """All that a layer covers, hidden or not, (H, W) bool."""
    covered = np.zeros(scene.size, bool)
    geometry = layer.geometry(layer.waves(time), scene.size)
    if geometry is not None:
        covered[geometry.window] = geometry.alpha > 0.5
    return covered


def test_a_video_is_a_function_of_its_seed(no_cache):
    first = make_video(3).frame(5), make_video(3).mask(5)
    no_cache()
    again = make_video(3).frame(5), make_video(3).mask(5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != make_video(4).frame(5)).mean() > 0.5
    assert (first[0] != make_video(3, split='dev').frame(5)).mean() > 0.5


def test_frames_have_the_promised_form():
    video = make_video(0, size=(40, 90))
    assert video.frame(0).shape == (40, 90, 3) and video.frame(0).dtype == np.uint8
    assert video.mask(0).shape == (40, 90) and video.mask(0).dtype == np.uint8
    with pytest.raises(IndexError, match="'video0' has frames 0 to 29, not 30"):
        video.frame(30)


def test_random_access_equals_sequential_access(no_cache):
    sequential = [make_video(1).frame(index) for index in range(8)]
    no_cache()
    video = make_video(1)
    for index in (6, 0, 7, 3):
        np.testing.assert_array_equal(video.frame(index), sequential[index])
        np.testing.assert_array_equal(video.mask(index), build_scene(video.spec).mask(index))


def test_what_the_caller_writes_into_a_frame_stays_with_the_caller():
    video = make_video(1)
    expected = video.mask(0)
    video.mask(0)[:] = 200
    np.testing.assert_array_equal(video.mask(0), expected)


def test_a_video_is_cheap_to_pickle_and_to_make_long():
    video = make_video(2, num_frames=2000)
    video.frame(1999)
    assert len(pickle.dumps(video)) < 500
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(video)).frame(1999), video.frame(1999))


def test_every_object_is_well_visible_in_frame_0():
    for seed in range(30):
        video = make_video(seed)
        ids = sorted({layer.object_id for layer in build_scene(video.spec).layers} - {0})
        assert 1 <= len(ids) <= 3 and ids == list(range(1, len(ids) + 1))
        for object_id in ids:
            assert (video.mask(0) == object_id).mean() >= 0.015
        assert set(np.unique(video.mask(25))) <= {0, *ids}


def dilated(mask, pixels):
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def test_masks_lie_on_the_pixels_of_their_object():
    """Without the object the picture changes in its mask, and else only on soft edges: its own and those
    before it."""
    for seed in range(8):
        scene = build_scene(SceneSpec('test', seed, SIZE))
        for time in (0, 11):
            picture, ids = scene.render(time)
            for layer in scene.layers:
                if not layer.object_id:
                    continue
                without = replace(scene, layers=[other for other in scene.layers if other is not layer])
                changed = (without.render(time)[0] != picture).any(-1)
                mask, covered = ids == layer.object_id, region(scene, layer, time)
                assert not (changed & ~dilated(covered, 1)).any()
                assert (changed & ~dilated(mask, 1)).sum() <= 0.05 * covered.sum()
                assert not mask.any() or changed[mask].mean() > 0.95


def test_masks_agree_with_those_of_twice_the_size():
    for seed in range(5):
        small = build_scene(SceneSpec('test', seed, SIZE)).mask(4) == 1
        large = build_scene(SceneSpec('test', seed, (2 * SIZE[0], 2 * SIZE[1]))).mask(4) == 1
        pooled = large.reshape(SIZE[0], 2, SIZE[1], 2).mean((1, 3))
        assert small.any()
        assert small[pooled == 1].all() and not small[pooled == 0].any()


def test_the_texture_sticks_to_the_object():
    """Whatever the shape, its contour shows the same line of the texture: the contour at rest."""
    for seed in range(5):
        scene = build_scene(SceneSpec('train', seed, (128, 128)))
        layer = next(layer for layer in scene.layers if layer.object_id == 1)
        for time in (0, 6, 40):
            geometry = layer.geometry(layer.waves(time), scene.size)
            if geometry is None:
                continue
            radius, angle = np.hypot(geometry.x, geometry.y), np.arctan2(geometry.y, geometry.x)
            rest = np.interp(
                angle, np.arange(len(layer.rest)) * 2 * np.pi / len(layer.rest), layer.rest, period=2 * np.pi
            )
            assert ((geometry.alpha > 0.5) == (radius < rest)).mean() > 0.99


def test_motion_is_smooth_and_not_still():
    steps = []
    for seed in range(20):
        for layer in build_scene(SceneSpec('train', seed, SIZE)).layers:
            if layer.object_id:
                places = np.array([layer.waves(time)[:2] for time in range(30)])
                steps.append(np.linalg.norm(np.diff(places, axis=0), axis=1))
    assert max(map(np.max, steps)) < 0.15
    assert np.mean(steps) > 0.01


def test_copying_the_first_mask_is_poor():
    overlaps = []
    for seed in range(10):
        masks = [build_scene(SceneSpec('test', seed, SIZE)).mask(time) for time in range(30)]
        for object_id in range(1, masks[0].max() + 1):
            first = masks[0] == object_id
            for mask in masks[1:]:
                overlaps.append((first & (mask == object_id)).sum() / (first | (mask == object_id)).sum())
    assert 0.1 < np.mean(overlaps) < 0.4


def test_objects_leave_come_back_and_are_occluded():
    came_back = occluded = 0
    for seed in range(25):
        scene = build_scene(SceneSpec('test', seed, SIZE))
        for layer in scene.layers:
            if not layer.object_id:
                continue
            covered = [region(scene, layer, time) for time in range(30)]
            inside = np.array([area.any() for area in covered])
            came_back += not inside.all() and inside[np.argmin(inside) :].any()
            hidden = [
                (area & (scene.mask(time) != layer.object_id)).sum() for time, area in enumerate(covered)
            ]
            occluded += any(
                pixels > 0.5 * max(area.sum(), 1) for pixels, area in zip(hidden, covered, strict=True)
            )
    assert came_back >= 3
    assert occluded >= 5


def test_look_alikes_and_occluders_are_background():
    scenes = [build_scene(SceneSpec('test', seed, SIZE)) for seed in range(20)]
    twins = occluders = 0
    for scene in scenes:
        textures = [id(layer.textures) for layer in scene.layers if layer.object_id]
        twins += sum(not layer.object_id and id(layer.textures) in textures for layer in scene.layers)
        front = scene.layers[-1]
        if not front.object_id and id(front.textures) not in textures:
            occluders += 1
            assert not scene.mask(3)[region(scene, front, 3)].any()
    assert twins >= 3 and occluders >= 5


def test_late_objects_are_prompted_where_they_appear():
    found = 0
    for seed in range(12):
        video = make_video(seed, num_frames=40, late_objects=1.0)
        assert set(np.unique(video.mask(0))) == {0, 1}
        prompts = Video.prompts.func(video)
        assert list(prompts) == list(video.prompts)
        for index, prompt in prompts.items():
            np.testing.assert_array_equal(prompt, video.prompts[index])
            assert all((prompt == new).mean() >= 0.015 for new in np.unique(prompt[prompt > 0]))
            found += index > 0
        assert video.object_ids == list(range(1, len(video.object_ids) + 1))
    assert found >= 5


@pytest.mark.parametrize('num_frames', [2, 7, 12])
def test_ids_have_no_gaps_however_early_the_video_ends(num_frames):
    for seed in range(12):
        ids = make_video(seed, num_frames=num_frames, late_objects=1.0).object_ids
        assert ids == list(range(1, len(ids) + 1))


def test_splits_share_no_photograph_and_no_seed():
    names = [name for split in PHOTOGRAPHS.values() for name in split]
    assert len(names) == len(set(names)) == 18
    pictures = {load_photograph(name).tobytes() for name in names}
    assert len(pictures) == len(names)
    for seed in range(50):
        assert [scene_seed(split, 1, 0, seed) >> 60 for split in PHOTOGRAPHS] == [0, 1, 2]
    assert scene_seed('train', 1, 0, 7) != scene_seed('train', 2, 0, 7)
    assert len({scene_seed('test', 1, seed, index) for seed in range(20) for index in range(20)}) == 400


def test_nothing_is_fetched(no_cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('the network was asked for')

    monkeypatch.setattr(socket, 'socket', refuse)
    for split in PHOTOGRAPHS:
        make_video(0, split=split).frame(0)


def test_a_missing_photograph_is_named():
    with pytest.raises(FileNotFoundError, match=r"data/nothing\.png.*'skimage'"):
        load_photograph('skimage/data/nothing.png')
    with pytest.raises(FileNotFoundError, match="'no_such_package' is not installed"):
        load_photograph('no_such_package/a.png')


def test_training_is_endless_and_a_function_of_the_request():
    dataset = SyntheticVOSDataset(size=SIZE, num_videos=4)
    assert len(dataset) == 4
    first = dataset[SampleRequest(0, 11)]
    np.random.seed(1)
    same = dataset[SampleRequest(3, 11)]
    other = dataset[SampleRequest(0, 12)]
    assert first['inputs'].shape == (3, 3, *SIZE)
    assert (first['inputs'] == same['inputs']).all()
    assert (first['data_samples'].masks == same['data_samples'].masks).all()
    assert (first['inputs'] != other['inputs']).float().mean() > 0.5
    assert first['data_samples'].masks[0].max() >= 1


def test_a_seed_and_a_version_give_other_training_scenes():
    request = SampleRequest(0, 11)
    items = [
        SyntheticVOSDataset(size=SIZE, **kwargs)[request] for kwargs in ({}, {'seed': 1}, {'version': 2})
    ]
    assert (items[0]['inputs'] != items[1]['inputs']).float().mean() > 0.5
    assert (items[0]['inputs'] != items[2]['inputs']).float().mean() > 0.5


def test_test_items_are_fixed_videos():
    dataset = SyntheticVOSDataset('test', num_videos=3, num_frames=5, size=SIZE)
    again = SyntheticVOSDataset('test', num_videos=2, num_frames=5, size=SIZE)
    assert len({dataset[index]['inputs'].name for index in range(3)}) == 3
    np.testing.assert_array_equal(dataset[1]['inputs'].frame(4), again[1]['inputs'].frame(4))
    assert dataset[1]['data_samples'].object_ids == dataset[1]['inputs'].object_ids


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'split': 'val'}, "split 'val' is none of train, dev, test"),
        ({'size': (8, 128)}, 'size must be'),
        ({'num_frames': 0}, 'num_frames must be in'),
        ({'late_objects': 1.5}, r'late_objects must be in 0\.\.1, got 1\.5'),
        ({'max_objects': 300}, r'max_objects must be in 1\.\.254, got 300'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SyntheticVOSDataset(**kwargs)


def test_converter_writes_what_davis_readers_read(tmp_path):
    convert = runpy.run_path(str(CONVERTER))['main']
    out = tmp_path / 'davis'
    command = [
        str(out),
        '--num-videos=2',
        '--num-frames=3',
        '--list-name=val',
        '--seed=5',
        '--size',
        *map(str, SIZE),
    ]
    convert(command)
    source = SyntheticVOSDataset('test', num_videos=2, num_frames=3, size=SIZE, seed=5)
    written = DAVISDataset(str(out), split='val', test_mode=True)
    assert len(written) == 2
    for index in range(2):
        expected, video = source[index]['inputs'], written[index]['inputs']
        assert video.name == expected.name and video.num_frames == 3
        for time in range(3):
            np.testing.assert_array_equal(video.mask(time), expected.mask(time))
            assert np.abs(video.frame(time).astype(int) - expected.frame(time)).mean() < 6
    assert Image.open(out / 'Annotations' / '480p' / 'test_00000' / '00000.png').mode == 'P'
    with pytest.raises(SystemExit, match='davis: the folder is not empty; --force'):
        convert(command)
    convert([*command, '--force', '--num-frames=1'])
    assert len(list((out / 'JPEGImages' / '480p' / 'test_00000').iterdir())) == 1
