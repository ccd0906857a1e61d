"""Data sets: training clips are functions of their request, test items whole videos decoded lazily."""

import random

import av
import numpy as np
import pytest
import torch
from helpers.davis_tree import SIZE, add_sequence, draw_frame, draw_ids, save_ids
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmstremn.datasets import DAVISDataset, SampleRequest, StaticImageDataset, VideoFile, open_video
from mmstremn.datasets.io.images import read_rgb
from mmstremn.datasets.io.masks import read_mask
from mmstremn.datasets.vos.base import draw_frames
from mmstremn.registry import DATASETS, build
from mmstremn.structures.video import VOID, iterate_frames
from mmstremn.utils.seeding import seeded

PIPELINE = [
    dict(type='ClipTransform', name='RandomResizedCrop', size=32, scale=(0.6, 1)),
    dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=10),
    dict(type='ClipTransform', name='ColorJitter', brightness=0.2),
]


@pytest.fixture
def root(tmp_path):
    add_sequence(tmp_path, 'two', [draw_ids(i, (1, 2)) for i in range(12)])
    add_sequence(tmp_path, 'one', [draw_ids(i) for i in range(2)])
    return tmp_path


def equal_items(a, b):
    return torch.equal(a['inputs'], b['inputs']) and torch.equal(
        a['data_samples'].masks, b['data_samples'].masks
    )


# Training clips


def test_training_item_has_the_shapes_and_ids_of_the_contract(root):
    dataset = DAVISDataset(root, split='val', clip_length=4, pipeline=PIPELINE, min_object_area=16)
    item = dataset[SampleRequest(0, 5)]
    sample = item['data_samples']
    assert item['inputs'].shape == (4, 3, 32, 32) and item['inputs'].dtype == torch.uint8
    assert type(item['inputs']) is torch.Tensor and type(sample.masks) is torch.Tensor
    assert sample.masks.shape == (4, 32, 32) and sample.masks.dtype == torch.uint8
    assert sample.masks[0].unique().tolist() == list(range(len(sample.object_ids) + 1))
    assert sample.video_name == 'two' and sample.sample_seed == 5 and len(sample.frame_indices) == 4
    batch = pseudo_collate([item, dataset[SampleRequest(1, 6)]])
    assert len(batch['inputs']) == len(batch['data_samples']) == 2


def test_training_item_is_a_function_of_its_request_alone(root):
    dataset = DAVISDataset(root, split='val', pipeline=PIPELINE, min_object_area=16)
    first = dataset[SampleRequest(0, 5)]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    dataset[SampleRequest(1, 9)]
    assert equal_items(first, dataset[SampleRequest(0, 5)])
    assert equal_items(dataset[0], dataset[SampleRequest(0, 0)])
    assert not equal_items(first, dataset[SampleRequest(0, 6)])


def test_making_an_item_leaves_the_global_generators_alone(root):
    dataset = DAVISDataset(root, split='val', pipeline=PIPELINE, min_object_area=16)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = random.random(), np.random.random(), torch.rand(1)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    dataset[SampleRequest(0, 5)]
    assert (random.random(), np.random.random(), torch.rand(1)) == expected


def test_seeded_restores_the_generators_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded(4):
        torch.rand(3)
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), state)


def test_clip_frames_are_the_videos_frames(root):
    dataset = DAVISDataset(root, split='val', reverse_prob=0)
    item = dataset[SampleRequest(0, 1)]
    video = dataset.get_video(SampleRequest(0, 1))
    for place, index in enumerate(item['data_samples'].frame_indices):
        assert np.array_equal(item['inputs'][place].permute(1, 2, 0).numpy(), video.frame(index))
        assert np.array_equal(item['data_samples'].masks[place].numpy(), video.mask(index))


@pytest.mark.parametrize('max_skip', [1, 3])
def test_steps_of_a_clip_are_uniform_up_to_the_skip(max_skip):
    steps = []
    with seeded(0):
        for _ in range(300):
            frames = draw_frames(range(40), 3, max_skip)
            assert frames[0] >= 0 and frames[-1] < 40
            steps += np.diff(frames).tolist()
    counts = np.bincount(steps, minlength=max_skip + 1)
    assert counts[0] == 0 and len(counts) == max_skip + 1
    assert counts[1:].min() > 0.8 * len(steps) / max_skip


def test_skip_shrinks_where_the_video_is_short_and_only_annotated_frames_are_drawn():
    with seeded(0):
        clips = [draw_frames([0, 5, 6, 20, 30], 3, 10) for _ in range(100)]
    assert {frame for clip in clips for frame in clip} == {0, 5, 6, 20, 30}
    assert all(clip[0] < clip[1] < clip[2] for clip in clips)


def test_short_videos_are_played_back_and_forth():
    with seeded(0):
        assert draw_frames([7], 3, 5) == [7, 7, 7]
        assert {tuple(draw_frames([7, 9], 4, 5)) for _ in range(20)} == {(7, 9, 7, 9), (9, 7, 9, 7)}
        assert all(set(np.abs(np.diff(draw_frames(range(4), 9, 5)))) == {1} for _ in range(20))


def test_request_overrides_the_skip_and_clips_run_both_ways(root):
    dataset = DAVISDataset(root, split='val', max_skip=5)
    steps = [np.diff(dataset[SampleRequest(0, seed, 1)]['data_samples'].frame_indices) for seed in range(20)]
    assert {tuple(step) for step in steps} == {(1, 1), (-1, -1)}


def test_objects_are_chosen_from_the_first_frame_and_renumbered(tmp_path):
    masks = [draw_ids(i, (3, 7, 9)) for i in range(3)]
    masks[2][40:, :] = VOID
    masks[1] = draw_ids(1, (3, 7, 9, 11))
    add_sequence(tmp_path, 'many', masks)
    dataset = DAVISDataset(tmp_path, split='val', max_objects=2, reverse_prob=0)
    chosen = set()
    for seed in range(20):
        sample = dataset[SampleRequest(0, seed, 1)]['data_samples']
        chosen.add(tuple(sample.object_ids))
        for k, source in enumerate(sample.object_ids, start=1):
            assert np.array_equal(sample.masks[1].numpy() == k, masks[1] == source)
        assert sample.masks[1].max() == 2 and 11 not in sample.object_ids
        assert np.array_equal(sample.masks[2].numpy() == VOID, masks[2] == VOID)
    assert chosen == {(3, 7), (3, 9), (7, 9)}


def test_clip_whose_first_frame_is_empty_is_reversed_or_drawn_again(tmp_path):
    add_sequence(tmp_path, 'late', [draw_ids(i, (1,) if i == 5 else ()) for i in range(6)])
    dataset = DAVISDataset(tmp_path, split='val')
    for seed in range(5):
        assert dataset[SampleRequest(0, seed)]['data_samples'].frame_indices[0] == 5


def test_clip_without_objects_ends_in_an_error_that_names_the_video(tmp_path):
    add_sequence(tmp_path, 'void', [np.full(SIZE, VOID, np.uint8)] * 3)
    with pytest.raises(
        ValueError, match=r"video 'void'.*none shows an object of 1 pixels or more .*: set min_object_area"
    ):
        DAVISDataset(tmp_path, split='val')[0]


def test_small_objects_are_taken_and_named_once(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmstremn.datasets.vos.base.print_log', lambda line, **_: lines.append(line))
    small = np.zeros(SIZE, np.uint8)
    small[8:12, 8:12] = 3
    add_sequence(tmp_path, 'small', [small] * 3)
    add_sequence(tmp_path, 'void', [np.full(SIZE, VOID, np.uint8)] * 3)
    add_sequence(tmp_path, 'large', [draw_ids(i) for i in range(3)])
    dataset = DAVISDataset(tmp_path, split='val')
    for seed in range(3):
        names = [dataset[SampleRequest(i, seed)]['data_samples'].video_name for i in range(3)]
        assert names == ['small', 'large', 'large']
    assert equal_items(dataset[SampleRequest(0, 1)], DAVISDataset(tmp_path, split='val')[SampleRequest(0, 1)])
    assert "video 'small': 10 clips in a row show no object of min_object_area=64" in lines[0]
    assert 'objects of 16 pixels are taken' in lines[0] and 'so far: 1 of 3' in lines[0]
    assert "video 'void'" in lines[1] and 'the next video is taken. Such videos so far: 1' in lines[1]
    assert len([line for line in lines if 'void' in line]) == 1


# DAVIS


def test_test_item_is_the_whole_video(root):
    dataset = build(dict(type='DAVISDataset', data_root=str(root), split='val', test_mode=True), DATASETS)
    item = dataset[0]
    video, sample = item['inputs'], item['data_samples']
    assert (video.name, video.num_frames, video.size) == ('two', 12, SIZE)
    assert sample.video_name == 'two' and sample.object_ids == [1, 2]
    assert video.frame_names[-1] == '00011'
    assert np.array_equal(video.mask(3), draw_ids(3, (1, 2)))
    frames = list(iterate_frames(video))
    assert len(frames) == 12 and np.abs(frames[3].astype(int) - draw_frame(video.mask(3))).mean() < 3


def test_objects_may_appear_later_and_frames_may_lack_masks(tmp_path):
    masks = [draw_ids(0), None, None, draw_ids(3, (1, 2)), None, draw_ids(5, (2, 1))]
    add_sequence(tmp_path, 'sparse', masks)
    video = DAVISDataset(tmp_path, split='val', test_mode=True)[0]['inputs']
    assert video.annotated == [0, 3, 5] and video.mask(1) is None
    assert list(video.prompts) == [0, 3]
    assert np.array_equal(video.prompts[3], np.where(masks[3] == 2, 2, 0))
    train = DAVISDataset(tmp_path, split='val')
    assert sorted(train[SampleRequest(0, 0)]['data_samples'].frame_indices) == [0, 3, 5]


@pytest.mark.parametrize('source', ['grey', 'ids'])
def test_year_2016_has_one_object(tmp_path, source):
    ids = draw_ids(0, (1, 2))
    _, mask_dir = add_sequence(tmp_path, 'old', [ids] * 3, year=2016)
    if source == 'grey':
        for path in mask_dir.iterdir():
            Image.fromarray(np.where(ids > 0, 255, 0).astype(np.uint8)).save(path)
    item = DAVISDataset(tmp_path, year=2016, split='val', test_mode=True)[0]
    assert item['data_samples'].object_ids == [1]
    assert np.array_equal(item['inputs'].mask(2), ids > 0)


@pytest.mark.parametrize('folder', ['2016', '480p'])
def test_lists_of_2016_name_pairs_of_files(tmp_path, folder):
    add_sequence(tmp_path, 'old', [draw_ids(i) for i in range(3)], split='unused')
    lines = [f'/JPEGImages/480p/old/{i:05d}.jpg /Annotations/480p/old/{i:05d}.png' for i in range(3)]
    path = tmp_path / 'ImageSets' / folder / 'trainval.txt'
    path.parent.mkdir()
    path.write_text('\n'.join(lines))
    dataset = DAVISDataset(tmp_path, year=2016, split='trainval')
    assert len(dataset) == 1 and dataset.get_video(SampleRequest(0, 0)).num_frames == 3


def test_short_side_scales_frames_and_masks_alike(root):
    video = DAVISDataset(root, split='val', short_side=24, test_mode=True)[0]['inputs']
    assert video.size == (24, 32) == video.frame(0).shape[:2] == video.mask(0).shape
    inside = video.mask(0) == 2
    assert inside.sum() == 36
    assert np.abs(video.frame(0)[inside].astype(int) - 140).mean() < 10


def test_an_object_lost_by_scaling_is_no_gap_in_the_ids(tmp_path):
    ids = draw_ids(0, (1, 2, 3))
    ids[ids == 2] = 0
    ids[40, 40] = 2
    add_sequence(tmp_path, 'tiny', [ids] * 2)
    assert DAVISDataset(tmp_path, split='val', test_mode=True)[0]['data_samples'].object_ids == [1, 2, 3]
    scaled = DAVISDataset(tmp_path, split='val', test_mode=True, short_side=12)[0]
    assert scaled['data_samples'].object_ids in ([1, 3], [1, 2, 3])


# Static images and video files


@pytest.mark.parametrize('bits', ['1', 'L'])
def test_static_image_is_a_video_of_one_frame(tmp_path, bits):
    ids = draw_ids(0)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'list.txt').write_text('a\n')
    Image.fromarray(draw_frame(ids)).save(tmp_path / 'images/a.jpg')
    Image.fromarray(ids * 255).convert(bits).save(tmp_path / 'masks/a.png')
    dataset = StaticImageDataset(tmp_path, pipeline=PIPELINE, clip_length=3, min_object_area=16)
    sample = dataset[SampleRequest(0, 1)]['data_samples']
    assert sample.frame_indices == [0, 0, 0] and sample.masks.unique().tolist() == [0, 1]
    assert not torch.equal(sample.masks[0], sample.masks[1])
    assert np.array_equal(dataset.get_video(SampleRequest(0, 0)).mask(0), ids)


def write_video(path, frames, codec, pixel_format):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.gop_size = 5
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24').reformat(format=pixel_format))
            )
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ('name', 'codec', 'pixel_format'),
    [('a.mp4', 'mpeg4', 'yuv420p'), ('a.avi', 'mpeg4', 'yuv420p'), ('a.gif', 'gif', 'rgb8')],
)
def test_video_file_gives_every_frame_in_any_order(tmp_path, name, codec, pixel_format):
    frames = [np.full((32, 48, 3), 10 * index, np.uint8) for index in range(24)]
    write_video(tmp_path / name, frames, codec, pixel_format)
    video = open_video(tmp_path / name)
    assert isinstance(video, VideoFile)
    assert (video.num_frames, video.size, video.name, len(video.annotated)) == (24, (32, 48), 'a', 0)
    in_order = list(iterate_frames(video))
    levels = np.array([frame.mean() for frame in in_order])
    assert np.abs(levels - np.arange(24) * 10).max() < 20 and (np.diff(levels) >= 0).all()
    for index in (23, 3, 3, 0, 20, 12):
        assert np.array_equal(video.frame(index), in_order[index])


def test_video_file_takes_the_first_mask(tmp_path):
    write_video(tmp_path / 'a.mp4', [draw_frame(draw_ids(i)) for i in range(4)], 'mpeg4', 'yuv420p')
    save_ids(tmp_path / 'first.png', draw_ids(0))
    video = VideoFile(tmp_path / 'a.mp4', tmp_path / 'first.png')
    assert video.object_ids == [1] and list(video.prompts) == [0] and video.mask(1) is None


def test_folder_of_pictures_is_a_video(root):
    video = open_video(root / 'JPEGImages/480p/two')
    assert video.num_frames == 12 and video.size == SIZE
    assert np.array_equal(video.frame(4), read_rgb(root / 'JPEGImages/480p/two/00004.jpg'))


# Files


def test_read_rgb_equals_pil(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / 'a.jpg')
    decoded = read_rgb(tmp_path / 'a.jpg')
    assert np.abs(decoded.astype(int) - np.asarray(Image.open(tmp_path / 'a.jpg'))).max() <= 2
    Image.fromarray(picture).save(tmp_path / 'a.png')
    assert np.array_equal(read_rgb(tmp_path / 'a.png'), picture)


def test_read_ids_gives_stored_values(tmp_path):
    ids = draw_ids(0, (1, 5, 255))
    save_ids(tmp_path / 'palette.png', ids)
    Image.fromarray(ids).save(tmp_path / 'grey.png')
    assert np.array_equal(read_mask(tmp_path / 'palette.png'), ids)
    assert np.array_equal(read_mask(tmp_path / 'grey.png'), ids)


def test_real_sequences_load(real_data):
    sparse = DAVISDataset(real_data / 'multi-object', split='sparse', test_mode=True)
    assert [item['data_samples'].object_ids[-1] for item in (sparse[0], sparse[1])] == [2, 44]
    assert list(sparse[0]['inputs'].prompts) == [0, 33]
    videos = DAVISDataset(real_data / 'davis16-val10', year=2016, split='val', test_mode=True, short_side=240)
    assert sum(videos.get_video(SampleRequest(i, i)).num_frames for i in range(len(videos))) == 656
    assert videos[0]['inputs'].frame(0).shape == (240, 427, 3)
