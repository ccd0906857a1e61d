"""Long embedded videos: exact and reproducible, and their schedules are what they are made for."""

import pickle
import time

import numpy as np
import pytest

from mmstremn.datasets import SampleRequest
from mmstremn.datasets.synthetic.journeys import AWAY, Body, Track, blurs, drift, impostor, visits
from mmstremn.datasets.synthetic.layers import ROW
from mmstremn.datasets.synthetic.long_videos import (
    LENGTHS,
    NEAR,
    RECIPES,
    LongSceneSpec,
    LongSyntheticVideo,
    LongSyntheticVOSDataset,
    build_long_scene,
)
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS
from mmstremn.datasets.synthetic.rendered_video import _render
from mmstremn.datasets.synthetic.scene import ring_position

SIZE = (64, 80)
LEAVING = [name for name, recipe in RECIPES.items() if recipe.leaves]


def make_video(seed, scenario='mixed', num_frames=400, size=SIZE, split='test', max_objects=2):
    return LongSyntheticVideo(
        LongSceneSpec(split, seed, size, max_objects, scenario, num_frames), num_frames, f'video{seed}'
    )


def some_videos(scenarios=RECIPES, seeds=range(3), **kwargs):
    return [make_video(seed, scenario, **kwargs) for scenario in scenarios for seed in seeds]


def visible(video):
    """(T, O) shares of the picture."""
    return np.array(
        [[truth['visible'] for truth in video.truth(index).values()] for index in range(video.num_frames)]
    )


def plan_visits(seed, looks=4, num_frames=1500):
    return visits(np.random.default_rng(seed), Body(looks, np.array([0.2, 0.25])), num_frames)


def centre_colour(texture):
    rows, columns = texture.shape[0] // 4, texture.shape[1] // 4
    return texture[rows:-rows, columns:-columns].mean((0, 1))


@pytest.mark.parametrize('scenario', RECIPES)
def test_random_access_equals_sequential_access_and_seeds_make_videos(scenario):
    video = make_video(1, scenario)
    sequential = [(video.frame(index), video.mask(index)) for index in range(60, 66)]
    for index in (64, 60, 399, 65):
        _render.cache_clear()
        build_long_scene.cache_clear()
        if index < 66:
            np.testing.assert_array_equal(video.frame(index), sequential[index - 60][0])
            np.testing.assert_array_equal(video.mask(index), sequential[index - 60][1])
        np.testing.assert_array_equal(video.mask(index), video.spec.build().mask(index))
    assert (make_video(2, scenario).frame(60) != sequential[0][0]).mean() > 0.5
    with pytest.raises(IndexError, match="'video1' has frames 0 to 399, not 400"):
        video.truth(400)


@pytest.mark.parametrize('scenario', RECIPES)
def test_a_longer_video_begins_as_a_shorter_one(scenario):
    for seed in range(3):
        short, long = make_video(seed, scenario, num_frames=150), make_video(seed, scenario, num_frames=900)
        for index in (0, 70, 149):
            np.testing.assert_array_equal(short.frame(index), long.frame(index))
            np.testing.assert_array_equal(short.mask(index), long.mask(index))


def test_a_long_video_is_cheap_to_build_and_to_pickle():
    video = make_video(0, num_frames=2000)
    build_long_scene(make_video(1).spec)  # photographs are read once
    build_long_scene.cache_clear()
    start = time.process_time()
    video.spec.build()
    assert time.process_time() - start < 0.5
    assert len(pickle.dumps(video)) < 500
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(video)).frame(1999), video.frame(1999))


def test_the_truth_agrees_with_the_masks():
    for video in some_videos(seeds=(0, 1)):
        for index in (0, 33, 150, 260, 399):
            mask = video.mask(index)
            truth = video.truth(index)
            assert set(np.unique(mask)) <= {0, *truth}
            for object_id, values in truth.items():
                shown = mask == object_id
                assert values['visible'] == shown.mean()
                assert values['appearance'].sum() == pytest.approx(1) and (values['appearance'] >= 0).all()
                assert not shown.any() or (-0.3 < values['x'] < 1.3 and -0.3 < values['y'] < 1.3)


def test_the_centre_and_the_appearance_are_those_of_the_picture():
    video = make_video(0, 'return', max_objects=1, size=(128, 128))
    layer = next(layer for layer in video.spec.build().layers if layer.object_id)
    checked = 0
    for index in range(0, 400, 7):
        truth, shown = video.truth(index)[1], video.mask(index) == 1
        inside = 0.3 < truth['x'] < 0.7 and 0.3 < truth['y'] < 0.7
        full = np.pi * layer.radius**2 * truth['scale'] ** 2
        if not inside or truth['visible'] < 0.9 * full or truth['blur'] > 0.3:
            continue
        rows, columns = np.nonzero(shown)
        assert np.hypot(columns.mean() / 128 - truth['x'], rows.mean() / 128 - truth['y']) < 0.06
        colours = np.array([centre_colour(texture) for texture in layer.textures])
        error = np.linalg.norm(video.frame(index)[shown].mean(0) - truth['appearance'] @ colours)
        assert error < 45
        checked += 1
    assert checked >= 3


def test_all_objects_are_well_visible_in_frame_0_and_prompted_there_alone():
    for video in some_videos(seeds=range(5), num_frames=200, size=(48, 48)):
        shares = visible(video)
        assert (shares[0] >= 0.018).all()
        assert ((shares > 0).mean(0) >= 0.5).all()
        assert list(video.prompts) == [0]
        assert video.object_ids == list(range(1, shares.shape[1] + 1))


@pytest.mark.parametrize('scenario', LEAVING)
def test_objects_are_really_away_and_come_back_more_often_in_longer_videos(scenario):
    for seed in range(2):
        seen = visible(make_video(seed, scenario, num_frames=700, size=(48, 48))) > 0
        for shown in seen.T:
            edges = np.flatnonzero(np.diff(np.concatenate([[1], shown, [1]])))
            spans = edges[1::2] - edges[::2]
            spans = spans[spans >= AWAY[0] - 1]
            assert len(spans) >= 2
            assert shown[edges[1] :].any()


def test_schedule_of_visits():
    """Long absences, and a return elsewhere, in a look that was seen, but not in the last two of the visit
    before."""
    lengths = []
    for seed in range(20):
        plan = plan_visits(seed)
        pose, blend = Track.through(plan.poses), Track.through(plan.blends)
        first_leave = plan.absences[0][0]
        dominant = [round(float(blend(index))) % 4 for index in range(plan.poses[-1][0] + 1)]
        assert set(dominant[:first_leave]) == {0, 1, 2, 3}
        assert np.abs(np.diff([float(blend(index)) for index in range(first_leave)])).max() < 0.2
        assert len(plan.absences) >= 4 and len(plan.absences) > len(
            plan_visits(seed, num_frames=500).absences
        )
        start = 0
        for left, back, _ in plan.absences:
            lengths.append(back - left)
            before = dominant[start : left + 1]
            shown = [look for place, look in enumerate(before) if place == 0 or look != before[place - 1]]
            assert dominant[back] not in shown[-2:] and dominant[back] in dominant[:left]
            assert np.linalg.norm(pose(back)[:2] - pose(left)[:2]) > 0.15
            middle = pose((left + back) // 2)
            assert (middle[:2] < -1).all()
            start = back
    assert AWAY[0] <= min(lengths) < 30 and 100 < max(lengths) <= AWAY[1]


def test_schedule_of_drift():
    """From one end of the looks to the other and back, slowly, and all the time."""
    for seed in range(5):
        plan = drift(np.random.default_rng(seed), Body(4, np.ones(2), lambda time: (0.0, 0.0)), 1500)
        blend = Track.through(plan.blends)
        values = np.array([float(blend(index)) for index in range(1500)])
        assert np.ptp(values) == pytest.approx(3, abs=0.01)
        assert np.abs(np.diff(values)).max() < 0.05
        turns = np.flatnonzero(np.diff(np.sign(np.diff(values))))
        assert len(turns) >= 2 and np.diff(turns).min() > 100


def test_impostors_are_there_while_the_object_is_away():
    for seed in range(5):
        plan = plan_visits(seed)
        false = impostor(np.random.default_rng(seed), Body(1, np.array([0.2, 0.25])), 1500, plan.absences)
        pose = Track.through(false.poses)
        long = [(left, back) for left, back, _ in plan.absences if back - left > 60]
        assert long
        for left, back in long:
            inside = [(np.abs(pose(index)[:2] - 0.5) < 0.5).all() for index in range(left, back)]
            assert np.mean(inside) > 0.5


def test_look_alikes_resemble_an_object_and_are_background():
    kinds = {name: 0 for name in RECIPES}
    for video in some_videos(seeds=range(4)):
        scene = video.spec.build()
        objects = [layer for layer in scene.layers if layer.object_id]
        twins = [
            layer
            for layer in scene.layers
            if not layer.object_id and any(layer.rest is other.rest for other in objects)
        ]
        recipe = RECIPES[video.spec.scenario]
        assert len(twins) == recipe.blends + recipe.cousins + recipe.impostors
        for twin in twins:
            looks = np.array([centre_colour(texture) for layer in objects for texture in layer.textures])
            distance = np.linalg.norm(looks - centre_colour(twin.textures[0]), axis=1).min()
            assert 0.35 * NEAR < distance < 2 * NEAR
        kinds[video.spec.scenario] += len(twins)
    assert min(kinds.values()) >= 4


def test_looks_are_far_apart():
    for video in some_videos(seeds=range(3)):
        scene = video.spec.build()
        colours = [
            centre_colour(texture) for layer in scene.layers if layer.object_id for texture in layer.textures
        ]
        assert len(colours) >= 3
        distances = np.linalg.norm(np.subtract.outer(colours, colours).diagonal(axis1=1, axis2=3), axis=-1)
        assert distances[~np.eye(len(colours), dtype=bool)].min() > 45


def test_blur_comes_in_stretches_and_spares_frame_0():
    track = blurs(np.random.default_rng(0), 1000, np.array([0.02, 0.02]))
    values = np.array([track(index) for index in range(1000)])
    assert (values[0] == 0).all() and 0.005 < values.max() <= 0.02
    assert 0.1 < (values.max(1) > 0).mean() < 0.5
    blurred = [
        video.truth(index)[1]['blur'] for video in some_videos(seeds=(0,)) for index in range(0, 400, 10)
    ]
    assert 0.1 < np.mean(np.array(blurred) > 0.2) < 0.7


def test_a_blurred_picture_has_less_detail():
    video = make_video(3, size=(96, 96))
    scene = video.spec.build()
    index = int(np.argmax([scene.blur_pixels(index).min() for index in range(400)]))
    blurred = video.frame(index)
    scene.blur, kept = Track.through([(0, np.zeros(2))]), scene.blur
    sharp = scene.render(index)[0]
    scene.blur = kept
    assert (
        np.abs(np.diff(blurred.astype(int), axis=0)).mean()
        < 0.8 * np.abs(np.diff(sharp.astype(int), axis=0)).mean()
    )


@pytest.mark.parametrize(
    ('blend', 'expected'),
    [(0.0, (0, 1, 0.0)), (2.25, (2, 0, 0.25)), (3.5, (0, 1, 0.5)), (-0.25, (2, 0, 0.75))],
)
def test_looks_lie_on_a_ring(blend, expected):
    assert ring_position(blend, 3) == expected


def test_a_track_passes_through_its_keys_and_is_still_outside():
    track = Track.through([(2, 1.0), (6, 3.0), (7, 0.0)])
    assert [float(track(time)) for time in (0, 2, 4, 6, 7, 100)] == [1, 1, 2, 3, 0, 0]


def test_fixed_videos():
    for split, lengths in LENGTHS.items():
        dataset = LongSyntheticVOSDataset(split, size=SIZE)
        assert [dataset.get_data_info(index)['video'].num_frames for index in range(len(dataset))] == list(
            lengths
        )
    again = LongSyntheticVOSDataset('test', size=SIZE, lengths=(50, 60))
    item = again[1]
    assert len(again) == 2 and item['data_samples'].num_frames == 60
    assert item['data_samples'].object_ids == item['inputs'].object_ids
    np.testing.assert_array_equal(item['inputs'].frame(59), dataset[1]['inputs'].frame(59))
    scenarios = [dataset.get_data_info(index)['video'].spec.scenario for index in range(8)]
    assert scenarios == 2 * list(RECIPES)
    only = LongSyntheticVOSDataset('dev', size=SIZE, scenarios=('drift',))
    assert {only.get_data_info(index)['video'].spec.scenario for index in range(6)} == {'drift'}


def test_splits_share_no_seed_and_no_photograph():
    names = [name for split in PHOTOGRAPHS.values() for name in split]
    assert len(names) == len(set(names))
    seeds = set()
    for split in PHOTOGRAPHS:
        for version in (1, 2):
            dataset = LongSyntheticVOSDataset(
                split, test_mode=True, lengths=(50,) * 6, size=SIZE, version=version
            )
            specs = [dataset.get_data_info(index)['video'].spec for index in range(6)]
            assert {spec.split for spec in specs} == {split}
            seeds |= {spec.seed for spec in specs}
    assert len(seeds) == 3 * 2 * 6


def test_training_clips_begin_with_an_object_and_span_long_times():
    dataset = LongSyntheticVOSDataset(size=SIZE, clip_length=5, max_skip=40, min_object_area=16)
    spans, away, scenarios = [], 0, set()
    for seed in range(12):
        item = dataset[SampleRequest(0, seed)]
        sample = item['data_samples']
        assert item['inputs'].shape == (5, 3, *SIZE)
        ids = np.unique(sample.masks[0])
        assert ids.max() >= 1
        spans.append(np.ptp(sample.frame_indices))
        away += any(
            (sample.masks == object_id).flatten(1).any(1).logical_not().any() for object_id in ids[ids > 0]
        )
        scenarios.add(sample.video_name.split('_', 2)[2])
    assert max(spans) > 80 and away >= 2 and len(scenarios) >= 3
    np.testing.assert_array_equal(item['inputs'], dataset[SampleRequest(5, 11)]['inputs'])
    assert (item['inputs'] != dataset[SampleRequest(0, 12)]['inputs']).float().mean() > 0.5


def test_behind_a_panel_an_object_is_hidden_whole():
    hidden = 0
    for size in ((64, 64), (48, 96)):
        for seed in range(12):
            scene = make_video(seed, 'return', size=size, max_objects=1).spec.build()
            layer = next(layer for layer in scene.layers if layer.object_id)
            keys = zip(layer.waves.pose.times, layer.waves.pose.values, strict=True)
            for frame, pose in keys:
                if 0 < pose[0] < 1 and 0 < pose[1] < 1 and (layer.waves.pose(frame + 1)[:2] < -1).all():
                    assert (scene.mask(int(frame)) == 1).sum() == 0
                    assert abs(layer.waves(frame)[ROW['x']] - pose[0]) < 0.06
                    hidden += 1
    assert hidden >= 3


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (
            {'scenarios': ('return', 'stay')},
            r'LongSyntheticVOSDataset\.scenarios must be some of return, .*stay',
        ),
        ({'scenarios': ()}, r'LongSyntheticVOSDataset\.scenarios'),
        ({'max_objects': 3}, r'LongSyntheticVOSDataset\.max_objects must be 1 or 2, got 3'),
        ({'lengths': (200, 0)}, r'LongSyntheticVOSDataset\.lengths must be'),
        ({'lengths': ()}, r'LongSyntheticVOSDataset\.lengths must be'),
        ({'split': 'val'}, "split 'val' is none of train, dev, test"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LongSyntheticVOSDataset(**kwargs)
