"""Video data sets for mmsegmentation, the samplers of clips and of videos, and the steps that treat a clip
alike."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import random
from itertools import islice
from zlib import crc32

import cv2
import numpy as np
import torch
from helpers.mmseg_cases import PLAIN_PIPELINE, SIZE, build_data
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import ExifTags, Image

from mmstremn.adapters.mmseg import (
    ClipConsistent,
    DisturbFrame,
    FrameRequest,
    VideoClipBatchSampler,
    VideoSampler,
    samplers,
)
from mmstremn.adapters.mmseg.samplers import VideoFrames
from mmstremn.datasets import samplers as iteration_samplers

IGNORED = 255


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


class Videos:
    """A data set that knows its videos and nothing else."""

    def __init__(self, *annotated):
        self.videos, start = [], 0
        for number, labels in enumerate(annotated):
            labels = (True,) * labels if isinstance(labels, int) else tuple(labels)
            self.videos.append(VideoFrames(f'v{number}', start, labels))
            start += len(labels)
        self.length = start

    def __len__(self):
        return self.length


def batches(monkeypatch, dataset, count, rank=0, world=1, batch_size=2, seed=0, **kwargs):
    for module in (samplers, iteration_samplers):
        monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world))
    sampler = DefaultSampler(dataset, seed=seed)
    return list(islice(VideoClipBatchSampler(sampler, batch_size, **kwargs), count))


# Samplers.


def test_a_batch_holds_clips_of_consecutive_frames_of_one_video(monkeypatch):
    dataset = Videos(7, 5, 9)
    for batch in batches(monkeypatch, dataset, 30, clip_length=4):
        assert len(batch) == 8
        for clip in (batch[:4], batch[4:]):
            indices = [request.index for request in clip]
            assert indices == list(range(indices[0], indices[0] + 4))
            assert len({request.clip_seed for request in clip}) == 1
            assert any(
                v.start <= indices[0] and indices[-1] < v.start + len(v.annotated) for v in dataset.videos
            )
        assert batch[0].clip_seed != batch[4].clip_seed


def test_steps_between_frames_go_up_to_the_largest_that_fits(monkeypatch):
    skips = {
        batch[1].index - batch[0].index
        for batch in batches(monkeypatch, Videos(20), 60, clip_length=4, max_skip=3)
    }
    assert skips == {1, 2, 3}
    short = {
        batch[1].index - batch[0].index
        for batch in batches(monkeypatch, Videos(8), 60, clip_length=4, max_skip=3)
    }
    assert short == {1, 2}


def test_clips_end_with_a_labelled_frame(monkeypatch):
    dataset = Videos([False] * 5 + [True] + [False] * 3, [True] + [False] * 3 + [True])
    ends = {batch[2].index for batch in batches(monkeypatch, dataset, 40, batch_size=1, clip_length=3)}
    assert ends == {5, 13}


def test_every_video_comes_once_a_pass_and_seeds_decide(monkeypatch):
    drawn = batches(monkeypatch, Videos(4, 4, 4, 4), 20, batch_size=1, clip_length=2)
    passes = [[batch[0].index // 4 for batch in drawn[i : i + 4]] for i in range(0, 20, 4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in passes)
    assert len({tuple(order) for order in passes}) > 1
    assert batches(monkeypatch, Videos(4, 4, 4, 4), 20, batch_size=1, clip_length=2) == drawn
    assert batches(monkeypatch, Videos(4, 4, 4, 4), 20, batch_size=1, clip_length=2, seed=1) != drawn


def test_two_ranks_draw_what_one_draws(monkeypatch):
    one = batches(monkeypatch, Videos(9, 9, 9), 10, batch_size=2, clip_length=3)
    ranks = [
        batches(monkeypatch, Videos(9, 9, 9), 10, rank, 2, batch_size=1, clip_length=3) for rank in range(2)
    ]
    assert [a + b for a, b in zip(*ranks, strict=True)] == one


def test_every_video_is_tested_in_order_on_one_rank(monkeypatch):
    dataset = Videos(5, 2, 9, 4, 1)
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (0, 1))
    assert list(VideoSampler(dataset)) == list(range(21))
    ranks = []
    for rank in range(2):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 2))
        ranks.append(VideoSampler(dataset, seed=3))
    assert sorted([*ranks[0], *ranks[1]]) == list(range(21))
    assert sorted(map(len, ranks)) == [10, 11]
    for video in dataset.videos:
        frames = list(range(video.start, video.start + len(video.annotated)))
        assert sum(frames == [i for i in rank if i in frames] for rank in ranks) == 1


@pytest.mark.parametrize(
    ('dataset', 'kwargs', 'error', 'message'),
    [
        (
            Videos(5, 3),
            dict(clip_length=4),
            ValueError,
            "video 'v1': expected a clip of 4 frames.* 3 frames, 3 of them labelled",
        ),
        (
            Videos([True, False, False]),
            dict(clip_length=2),
            ValueError,
            "video 'v0'.* 3 frames, 1 of them labelled",
        ),
        (
            Videos(5),
            dict(clip_length=0),
            ValueError,
            'clip_length and max_skip must be at least 1, got 0 and 1',
        ),
        (Videos(), {}, ValueError, 'VideoClipBatchSampler: the data set holds no video'),
        (range(4), {}, TypeError, 'VideoClipBatchSampler needs a data set with .*, got range'),
    ],
    ids=['too short', 'labelled too early', 'no frame', 'empty', 'images'],
)
def test_what_has_no_clips_is_refused(dataset, kwargs, error, message, monkeypatch):
    with pytest.raises(error, match=message):
        batches(monkeypatch, dataset, 1, **kwargs)


def test_a_data_set_of_images_is_refused_by_the_video_sampler():
    with pytest.raises(TypeError, match=r'VideoSampler needs a data set with .*, got range'):
        VideoSampler(range(3))


# Pipeline steps.


def test_a_clip_is_transformed_alike_and_clips_differ():
    augmentation = [
        dict(type='RandomResize', scale=SIZE[::-1], ratio_range=(1.2, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(24, 24), cat_max_ratio=0.5),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
    ]
    still = np.random.default_rng(0).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    step = ClipConsistent(augmentation)
    assert step.transforms[1].cat_max_ratio == 1

    def frame(seed, number):
        labels = np.full(SIZE, number % 2, np.uint8)  # what a crop's cat_max_ratio would look at
        labels[:, :10] = 3
        results = dict(
            img=still, gt_seg_map=labels, seg_fields=['gt_seg_map'], img_shape=SIZE, clip_seed=seed
        )
        return step(results)

    state = random.getstate()
    clips = [[frame(seed, number)['img'] for number in range(4)] for seed in range(4)]
    assert random.getstate() == state
    for images in clips:
        assert all(np.array_equal(images[0], image) for image in images)
    assert len({images[0].tobytes() for images in clips}) == 4
    assert len({frame(None, 0)['img'].tobytes() for _ in range(4)}) > 1


def test_disturbance_is_fixed_by_the_video_in_testing_and_by_the_clip_in_training():
    image = np.full((32, 32, 3), 20, np.uint8)

    def frame(step, index, **info):
        return step(dict(img=image, video_name='a', frame_index=index) | info)['img'].astype(int)

    noise, hidden, both = DisturbFrame(noise=40), DisturbFrame(hidden=0.4), DisturbFrame(noise=40, hidden=0.4)
    assert np.array_equal(frame(both, 3), frame(both, 3))
    assert not np.array_equal(frame(both, 3), frame(both, 3, video_name='b'))
    assert not np.array_equal(frame(both, 3, clip_seed=1), frame(both, 3, clip_seed=2))
    assert np.array_equal(frame(both, 3, clip_seed=1, video_name='b'), frame(both, 3, clip_seed=1))
    cells = [frame(hidden, i)[::8, ::8, 0] for i in range(20)]
    assert set(np.unique(cells)) == {20, 128}
    assert np.array_equal(cells[0], cells[1]) and not np.array_equal(cells[1], cells[2])
    assert 0.25 < (np.array(cells) == 128).mean() < 0.55
    strengths = [frame(noise, i).std() for i in range(20)]
    assert min(strengths) < 10 < max(strengths) < 40
    assert np.array_equal(frame(DisturbFrame(), 0), image)
    assert np.array_equal(both(dict(img=image))['img'], image)  # a picture is no frame of a data set


@pytest.mark.parametrize('settings', [dict(noise=-1), dict(hidden=1.5)])
def test_a_wrong_disturbance_is_refused(settings):
    with pytest.raises(ValueError, match=r'noise must be at least 0 and hidden in 0\.\.1'):
        DisturbFrame(**settings)


# Data sets.


def test_embedded_videos_show_classes_that_differ_in_colour_and_pattern():
    dataset = build_data(num_videos=6, num_frames=3, size=(64, 64))
    seen = set()
    for index in range(18):
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 64, 64) and sample['inputs'].dtype == torch.uint8
        meta, labels = sample['data_samples'].metainfo, sample['data_samples'].gt_sem_seg.data
        assert (meta['video_name'], meta['frame_index']) == (f'train_{index // 3:05d}', index % 3)
        seen |= set(labels.unique().tolist())
        for kind in set(labels.unique().tolist()) & {1, 3}:
            blue, _, red = sample['inputs'][:, labels[0] == kind].float().mean(1)
            assert (red > blue) == (kind == 1)
    assert seen == {0, 1, 2, 3, 4}
    assert torch.equal(
        dataset[4]['inputs'], build_data(num_videos=6, num_frames=3, size=(64, 64))[4]['inputs']
    )
    assert not torch.equal(dataset[0]['inputs'], build_data(size=(64, 64), seed=1)[0]['inputs'])


def test_embedded_frames_are_files_to_whoever_reads_their_path():
    read = build_data([dict(type='LoadImageFromFile'), dict(type='PackSegInputs')])
    own = build_data(split='test', size=(48, 32))
    for one, other in (
        (read, build_data()),
        (build_data(read.pipeline.transforms, split='test', size=(48, 32)), own),
    ):
        for index in (0, 7):
            assert torch.equal(one[index]['inputs'], other[index]['inputs'])
            assert one[index]['data_samples'].ori_shape == other[index]['data_samples'].ori_shape


def test_a_request_carries_the_seed_of_its_clip():
    dataset = build_data()
    assert dataset[FrameRequest(7, 55)]['data_samples'].metainfo['clip_seed'] == 55
    assert 'clip_seed' not in dataset[7]['data_samples'].metainfo
    assert [(v.name, v.start, len(v.annotated)) for v in dataset.videos] == [
        (f'train_{i:05d}', 6 * i, 6) for i in range(3)
    ]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(split='val'), "split 'val' is none of train"),
        (dict(size=(8, 8)), 'size must be'),
        (dict(num_frames=0), 'at least 1'),
    ],
)
def test_wrong_arguments_of_the_embedded_data_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_data(**settings)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.fixture
def vspw(tmp_path):
    for video, frames in (('10_abc', 3), ('2_def', 2)):
        for index in range(frames):
            name, seed = f'{index + 1:08d}', crc32(f'{video}{index}'.encode())
            image = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3))
            write(tmp_path / 'data' / video / 'origin' / f'{name}.jpg', image.astype(np.uint8))
            mask = np.full(SIZE, index + 1, np.uint8)
            mask[0], mask[1] = 0, 255
            write(tmp_path / 'data' / video / 'mask' / f'{name}.png', mask)
    (tmp_path / 'train.txt').write_text('10_abc\n2_def\n')
    return tmp_path


def build_vspw(root, **kwargs):
    return DATASETS.build(
        dict(type='mmstremn.VSPWDataset', data_root=str(root), pipeline=PLAIN_PIPELINE) | kwargs
    )


def test_vspw_layout(vspw):
    dataset = build_vspw(vspw)
    assert [video.name for video in dataset.videos] == ['10_abc', '2_def'] and len(dataset) == 5
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 124
    sample = dataset[2]['data_samples']
    assert (sample.video_name, sample.frame_index) == ('10_abc', 2)
    assert sample.gt_sem_seg.data[0, :3, 0].tolist() == [IGNORED, IGNORED, 2]


def test_vspw_frames_without_masks_have_no_labels(vspw):
    (vspw / 'data/2_def/mask/00000002.png').unlink()
    dataset = build_vspw(vspw)
    assert dataset.videos[1].annotated == (True, False)
    assert (dataset[4]['data_samples'].gt_sem_seg.data == IGNORED).all()


def test_what_is_missing_in_vspw_is_named(vspw):
    with pytest.raises(FileNotFoundError, match=r'val\.txt: no such file'):
        build_vspw(vspw, split='val')
    (vspw / 'train.txt').write_text('10_abc\nnowhere\n')
    with pytest.raises(FileNotFoundError, match=r'nowhere/origin: no such folder'):
        build_vspw(vspw)
    (vspw / 'train.txt').write_text('10_abc\n')
    (vspw / 'data/10_abc/origin/00000002.jpg').unlink()
    with pytest.raises(
        ValueError, match=r'mask/00000002\.png: a mask without a frame, expected .*origin/00000002\.jpg'
    ):
        build_vspw(vspw)
    (vspw / 'train.txt').write_text('')
    with pytest.raises(ValueError, match=r'train\.txt: expected at least one line'):
        build_vspw(vspw)


def test_a_damaged_frame_is_named(vspw):
    (vspw / 'data/2_def/origin/00000001.jpg').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'2_def/origin/00000001\.jpg: expected a picture'):
        build_vspw(vspw)[3]


def test_labels_that_are_not_turned_as_their_frame_is_shown_are_refused(vspw):
    frame, labels = (vspw / f'data/2_def/{name}' for name in ('origin/00000001.jpg', 'mask/00000001.png'))
    with Image.open(frame) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = 6
        picture.save(frame, exif=exif)
    with pytest.raises(ValueError, match=r'mask/00000001\.png: labels of \(32, 48\).*expected \(48, 32\)'):
        build_vspw(vspw)[3]
    with Image.open(labels) as picture:
        picture.transpose(Image.Transpose.ROTATE_270).save(labels)
    assert build_vspw(vspw)[3]['data_samples'].gt_sem_seg.data.shape == (1, 48, 32)


@pytest.fixture
def cityscapes(tmp_path):
    for stem, number in (('aachen_000000', 19), ('bochum_000000', 3000)):
        city = stem.partition('_')[0]
        for frame in range(number - 19, number + 11):
            name = f'{stem}_{frame:06d}_leftImg8bit.png'
            write(
                tmp_path / 'leftImg8bit_sequence/train' / city / name,
                np.full((*SIZE, 3), frame % 200, np.uint8),
            )
        labels = tmp_path / 'gtFine/train' / city / f'{stem}_{number:06d}_gtFine_labelTrainIds.png'
        write(labels, np.full(SIZE, 7, np.uint8))
    return tmp_path


def build_cityscapes(root, **kwargs):
    settings = dict(type='mmstremn.CityscapesSequenceDataset', data_root=str(root), pipeline=PLAIN_PIPELINE)
    return DATASETS.build(settings | kwargs)


def test_cityscapes_sequences(cityscapes):
    dataset = build_cityscapes(cityscapes, before=4, after=2)
    assert [video.name for video in dataset.videos] == ['aachen_000000_000019', 'bochum_000000_003000']
    assert dataset.videos[1].annotated == (False,) * 4 + (True,) + (False,) * 2
    samples = [dataset[index] for index in range(7, 14)]
    assert [int(sample['inputs'][0, 0, 0]) for sample in samples] == [
        frame % 200 for frame in range(2996, 3003)
    ]
    labels = [sample['data_samples'].gt_sem_seg.data.unique().tolist() for sample in samples]
    assert labels == [[IGNORED]] * 4 + [[7]] + [[IGNORED]] * 2
    assert len(build_cityscapes(cityscapes)) == 40
    assert len(dataset.metainfo['classes']) == 19


def test_what_is_missing_in_cityscapes_is_named(cityscapes):
    frame = cityscapes / 'leftImg8bit_sequence/train/aachen/aachen_000000_000016_leftImg8bit.png'
    frame.unlink()
    with pytest.raises(
        FileNotFoundError, match=r'aachen_000000_000016_leftImg8bit\.png: no such frame, expected all frames'
    ):
        build_cityscapes(cityscapes)
    assert len(build_cityscapes(cityscapes, before=2)) == 6
    frame.with_name('aachen_000000_000019_leftImg8bit.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'000019_leftImg8bit\.png: no such frame, expected the picture of'
    ):
        build_cityscapes(cityscapes, before=2)
    with pytest.raises(FileNotFoundError, match=r'gtFine/val: expected labels'):
        build_cityscapes(cityscapes, split='val')
    with pytest.raises(ValueError, match='before and after must be at least 0'):
        build_cityscapes(cityscapes, before=-1)


def test_labels_of_a_test_pipeline_keep_their_size(cityscapes):
    pipeline = [
        dict(type='mmstremn.LoadVideoFrame', labels=False),
        dict(type='Resize', scale=(24, 16)),
        dict(type='mmstremn.LoadVideoFrame', image=False),
        dict(type='PackSegInputs'),
    ]
    for index in (0, 19):
        sample = build_cityscapes(cityscapes, pipeline=pipeline)[index]
        assert sample['inputs'].shape[1:] == (16, 24)
        assert sample['data_samples'].gt_sem_seg.data.shape[1:] == SIZE
    assert 'labels=False' in repr(TRANSFORMS.build(pipeline[0]))
