"""The data sets of video prediction."""

import gzip
import itertools
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from helpers.prediction_files import flat_frames, write_pictures, write_video
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmstremn.datasets import (
    FolderVideoDataset,
    Human36MDataset,
    IterationSampler,
    KTHDataset,
    MovingDigitsDataset,
    MovingMNISTDataset,
    SampleRequest,
)
from mmstremn.datasets.prediction.clips import ClipFormat, centre_crop
from mmstremn.datasets.prediction.kth_sequences import read_sequence_list
from mmstremn.datasets.prediction.moving_digits import SPEED, bounce, load_digit_images
from mmstremn.datasets.prediction.splits import split_of
from mmstremn.datasets.prediction.windows import find_starts, space_from_end
from mmstremn.registry import DATASETS

SMALL = dict(input_frames=3, output_frames=2, size=16)


def raises(error, *parts):
    return pytest.raises(error, match='(?s)' + '.*'.join(re.escape(str(part)) for part in parts))


def levels(item):
    """The mean grey of each frame of an item."""
    return item['inputs'].float().mean(dim=(1, 2, 3)).round().int().tolist()


@pytest.fixture
def warnings(monkeypatch):
    """What the data sets log."""
    logged = []
    for module in ('kth', 'human36m', 'moving_mnist', 'windows'):
        monkeypatch.setattr(
            f'mmstremn.datasets.prediction.{module}.print_log', lambda text, **kwargs: logged.append(text)
        )
    return logged


# Moving digits


def test_items_of_moving_digits():
    for split in ('train', 'dev', 'test'):
        item = MovingDigitsDataset(split, input_frames=4, output_frames=6)[0]
        assert item['inputs'].shape == (10, 1, 64, 64) and item['inputs'].dtype == torch.uint8
        assert item['inputs'].max() > 200 and (item['inputs'] == 0).float().mean() > 0.6
        assert item['data_samples'].input_frames == 4
        assert item['data_samples'].clip_name.startswith(split)


def test_training_digits_are_a_function_of_the_request():
    dataset = MovingDigitsDataset(size=32, num_clips=4)
    first = dataset[SampleRequest(0, 11)]
    np.random.seed(1)
    torch.manual_seed(1)
    assert len(dataset) == 4
    assert (first['inputs'] == dataset[SampleRequest(3, 11)]['inputs']).all()
    others = [
        MovingDigitsDataset(size=32, **kwargs)[SampleRequest(0, 11)]
        for kwargs in ({'seed': 1}, {'version': 2})
    ]
    for other in (dataset[SampleRequest(0, 12)], *others):
        assert (first['inputs'] != other['inputs']).any()


def test_a_resumed_sampler_gives_the_same_clips():
    dataset = MovingDigitsDataset(size=32, num_clips=10)
    sampler = IterationSampler(dataset, seed=3, batch_size=2)
    whole = [dataset[request]['inputs'] for request in itertools.islice(sampler, 8)]
    sampler.start = 2
    rest = [dataset[request]['inputs'] for request in itertools.islice(sampler, 4)]
    assert all((one == other).all() for one, other in zip(whole[4:], rest, strict=True))
    assert (whole[0] != whole[1]).any()


def test_dev_and_test_digits_are_fixed_and_longer_clips_begin_like_shorter():
    dataset = MovingDigitsDataset('test', num_clips=5)
    longer = MovingDigitsDataset('test', output_frames=40)
    assert len(dataset) == 5 and len(longer) == 500
    for index in range(5):
        assert (dataset[index]['inputs'] == longer[index]['inputs'][:20]).all()
        assert dataset[index]['data_samples'].clip_name == longer[index]['data_samples'].clip_name
    assert (dataset[0]['inputs'] != dataset[1]['inputs']).any()
    assert (dataset[0]['inputs'] != MovingDigitsDataset('dev')[0]['inputs']).any()


def test_splits_share_no_digit():
    images = [image.tobytes() for split in ('train', 'dev', 'test') for image in load_digit_images(split)]
    assert len(images) == 1797 == len(set(images))


def test_digits_go_straight_at_one_speed_and_bounce():
    rng = np.random.default_rng(0)
    bounces = 0
    for _ in range(50):
        way = bounce(rng.random(2), rng.random() * 2 * np.pi, 30)
        assert way.min() >= 0 and way.max() <= 1
        steps = np.diff(way, axis=0)
        inside = ((way > 0) & (way < 1)).all(axis=1)
        free = inside[1:] & inside[:-1]
        np.testing.assert_allclose(np.linalg.norm(steps[free], axis=1), SPEED)
        turned = np.sign(steps[1:]) * np.sign(steps[:-1]) < 0
        assert (turned == ((way[1:-1] == 0) | (way[1:-1] == 1))).all()
        bounces += turned.sum()
    assert bounces > 50


@pytest.mark.parametrize('size', [64, 32, (32, 48)])
def test_a_digit_moves_as_a_whole(size):
    dataset = MovingDigitsDataset('test', num_digits=1, size=size)
    images = {int(image.sum(dtype=np.int64)) for image in dataset.clips.images}
    for index in range(5):
        frames = dataset[index]['inputs']
        totals = set(frames.sum(dim=(1, 2, 3), dtype=torch.int64).tolist())
        assert len(totals) == 1 and totals <= images
        assert (frames[0] != frames[-1]).any()


def test_max_clips_spreads_over_the_split():
    dataset = MovingDigitsDataset('test', num_clips=10, max_clips=4)
    assert [dataset[index]['data_samples'].clip_name for index in range(len(dataset))] == [
        f'test_{place:05d}' for place in (0, 2, 5, 7)
    ]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(split='val'), "split 'val' is none of train, dev, test"),
        (dict(output_frames=0), 'output_frames must be 1 or more, got 0'),
        (dict(size=8), 'size must be'),
        (dict(num_digits=0), 'num_digits must be 1 or more, got 0'),
        (dict(num_clips=0), 'num_clips must be 1 or more, got 0'),
        (dict(max_clips=0), 'max_clips must be 1 or more, got 0'),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with raises(ValueError, message):
        MovingDigitsDataset(**kwargs)


# Moving MNIST


@pytest.fixture
def mnist_clips(tmp_path):
    """(T, N, H, W), the clips in mnist_test_seq.npy of a folder."""
    clips = np.random.default_rng(0).integers(0, 256, (6, 10, 16, 16), dtype=np.uint8)
    np.save(tmp_path / 'mnist_test_seq.npy', clips)
    return clips


def write_idx(path, images):
    header = np.array([2051, *images.shape], dtype='>u4').tobytes()
    path.write_bytes(gzip.compress(header + images.tobytes()))


def test_the_test_set_of_moving_mnist(mnist_clips, tmp_path):
    dataset = MovingMNISTDataset(tmp_path, 'test', input_frames=3, output_frames=3, size=16)
    assert len(dataset) == 10
    for index in range(10):
        np.testing.assert_array_equal(dataset[index]['inputs'][:, 0].numpy(), mnist_clips[:, index])
    assert dataset[7]['data_samples'].clip_name == 'mnist_test_seq_00007@00000'
    half = MovingMNISTDataset(tmp_path, 'test', input_frames=3, output_frames=3, size=32)
    assert half[0]['inputs'].shape == (6, 1, 32, 32)


def test_npz_files_hold_the_same_clips(mnist_clips, tmp_path):
    np.savez_compressed(tmp_path / 'plain.npz', mnist_clips)
    frames = mnist_clips.swapaxes(0, 1).reshape(60, 1, 16, 16) / np.float32(255)
    starts = np.arange(10) * 6
    clips = np.stack([np.stack([starts, np.full(10, 4)], 1), np.stack([starts + 4, np.full(10, 2)], 1)])
    np.savez(tmp_path / 'predrnn.npz', dims=np.array([[1, 16, 16]]), input_raw_data=frames, clips=clips)
    for name in ('plain.npz', 'predrnn.npz'):
        dataset = MovingMNISTDataset(
            tmp_path, 'test', sequence_file=name, input_frames=4, output_frames=2, size=16
        )
        assert len(dataset) == 10
        np.testing.assert_array_equal(dataset[3]['inputs'][:, 0].numpy(), mnist_clips[:, 3])


def test_training_clips_are_made_of_mnist_digits(mnist_clips, tmp_path):
    images = np.zeros((5020, 28, 28), np.uint8)
    images[:20, 4:24, 10:18] = 100
    images[20:, 4:24, 10:18] = 200
    write_idx(tmp_path / 'train-images-idx3-ubyte.gz', images)
    train, dev = (MovingMNISTDataset(tmp_path, split) for split in ('train', 'dev'))
    item = train[SampleRequest(0, 5)]
    assert item['inputs'].shape == (20, 1, 64, 64)
    assert item['inputs'].max() == 100 and dev[0]['inputs'].max() == 200
    assert (item['inputs'] == train[SampleRequest(1, 5)]['inputs']).all()
    assert (dev[0]['inputs'] == dev[0]['inputs']).all() and (dev[0]['inputs'] != dev[1]['inputs']).any()


def test_parts_of_the_test_set_can_be_trained_on_with_a_warning(mnist_clips, tmp_path, warnings):
    kwargs = dict(sequence_file='mnist_test_seq.npy', input_frames=2, output_frames=2, size=16)
    train = MovingMNISTDataset(tmp_path, 'train', clips=(0, 8), **kwargs)
    assert len(train) == 8 and 'cannot be compared' in warnings[0]
    for seed in range(20):
        frames = train[SampleRequest(5, seed)]['inputs'][:, 0].numpy()
        assert any((frames == mnist_clips[start : start + 4, 5]).all() for start in range(3))
    names = {train[SampleRequest(5, seed)]['data_samples'].clip_name for seed in range(20)}
    assert names == {f'mnist_test_seq_00005@0000{start}' for start in range(3)}
    with raises(ValueError, 'mnist_test_seq.npy', 'clips 8..12', 'its 10 clips'):
        MovingMNISTDataset(tmp_path, 'test', clips=(8, 12), **kwargs)


def test_bad_files_of_moving_mnist(mnist_clips, tmp_path):
    with raises(FileNotFoundError, tmp_path, 'train-images-idx3-ubyte.gz', 'give sequence_file'):
        MovingMNISTDataset(tmp_path, 'train')
    with raises(ValueError, 'mnist_test_seq.npy (clip 0)', '6 frames', 'expected at least 20'):
        MovingMNISTDataset(tmp_path, 'test')
    with raises(FileNotFoundError, 'none.npy'):
        MovingMNISTDataset(tmp_path, 'test', sequence_file='none.npy')
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(b'no gzip')
    with raises(ValueError, 'train-images-idx3-ubyte.gz', 'cannot read it'):
        MovingMNISTDataset(tmp_path, 'dev')
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(gzip.compress(b'no images at all, but long enough'))
    with raises(ValueError, 'train-images-idx3-ubyte.gz', 'a whole IDX file'):
        MovingMNISTDataset(tmp_path, 'dev')
    for name, content in (('empty.npy', b''), ('bad.npz', b'PK nothing'), ('bad.npy', b'123')):
        (tmp_path / name).write_bytes(content)
        with raises(ValueError, name, 'cannot read'):
            MovingMNISTDataset(tmp_path, 'test', sequence_file=name)
    np.save(tmp_path / 'floats.npy', np.zeros((6, 2, 16, 16)))
    with raises(ValueError, 'floats.npy', 'float64', 'expected uint8'):
        MovingMNISTDataset(tmp_path, 'test', sequence_file='floats.npy')
    np.save(tmp_path / 'flat.npy', np.zeros((6, 16, 16), np.uint8))
    with raises(ValueError, 'flat.npy', '(6, 16, 16)', 'expected (T, N, H, W)'):
        MovingMNISTDataset(tmp_path, 'test', sequence_file='flat.npy')
    np.savez(tmp_path / 'floats.npz', np.full((6, 2, 16, 16), 255.0))
    with raises(ValueError, 'floats.npz', 'outside of 0..1'):
        MovingMNISTDataset(tmp_path, 'test', sequence_file='floats.npz')


# Windows


def predrnn_windows(numbers, length, fast):
    """What PredRNN's KTH loader does with the frames of one video, step by step."""
    found, index = [], len(numbers) - 1
    while index >= length - 1:
        if numbers[index] - numbers[index - length + 1] == length - 1:
            found.append(numbers[index - length + 1])
            index -= 2 if fast else length - 1
        index -= 1
    return found[::-1]


@pytest.mark.parametrize('fast', [True, False])
def test_fixed_windows_are_those_of_predrnn(fast):
    rng = np.random.default_rng(0)
    for _ in range(30):
        numbers = np.flatnonzero(rng.random(200) < 0.97)
        expected = predrnn_windows(numbers.tolist(), 10, fast)
        assert space_from_end(find_starts(numbers, 10), 3 if fast else 10) == expected


def test_windows_with_steps():
    numbers = np.array([1, 6, 11, 16, 26, 31, 36])
    assert find_starts(numbers, 3, 5).tolist() == [1, 6, 26]
    assert find_starts(np.arange(12), 3, 5).tolist() == [0, 1]
    assert find_starts(np.arange(10), 3, 5).tolist() == []
    assert find_starts(np.array([], dtype=int), 3).tolist() == []


# KTH


LIST = 'Contact: nobody\r\n\r\nTraining:   person11, 12\r\n'


def make_kth(root, videos, list_lines):
    for name, count in videos.items():
        write_video(
            root / name.split('_')[1] / f'{name}_uncomp.avi', flat_frames(range(20, 20 + 10 * count, 10))
        )
    (root / '00sequences.txt').write_text(LIST + ''.join(f'{line}\r\n' for line in list_lines))
    return root


@pytest.fixture
def kth(tmp_path):
    videos = {
        'person01_boxing_d1': 20,
        'person15_running_d2': 14,
        'person17_boxing_d1': 16,
        'person25_jogging_d3': 14,
    }
    lines = [
        'person01_boxing_d1\t\tframes\t1-4, 7-12,16-20 ',
        'person15_running_d2 frames 1-14',
        'person17_boxing_d1 frames 6-9, 1-5, 9-16',
        'person25_jogging_d3\tframes\t1-11, 12 - 99',
        'person13_handclapping_d3\t*missing*',
    ]
    return make_kth(tmp_path / 'kth', videos, lines)


def near(item, numbers):
    """Whether the frames of an item are those of these numbers from 1 on (the videos are lossy)."""
    return np.abs(np.array(levels(item)) - (10 + 10 * np.array(numbers))).max() <= 4


def test_kth_training_clips_lie_within_sequences(kth, warnings):
    dataset = KTHDataset(kth, **SMALL)
    assert len(dataset) == 1 and 'no video of persons 2, 3' in warnings[0]
    starts = set()
    for seed in range(30):
        item = dataset[SampleRequest(0, seed)]
        start = int(item['data_samples'].clip_name.removeprefix('person01_boxing_d1@'))
        assert item['inputs'].shape == (5, 1, 16, 16)
        assert near(item, range(start, start + 5))
        starts.add(start)
    assert starts == {7, 8, 16}


def test_kth_test_clips(kth, warnings):
    dataset = KTHDataset(kth, 'test', **SMALL)
    names = [dataset[index]['data_samples'].clip_name for index in range(len(dataset))]
    boxing = [f'person17_boxing_d1@{start:05d}' for start in (2, 7, 12)]
    assert names == boxing + [f'person25_jogging_d3@{start:05d}' for start in (1, 4, 7, 10)]
    assert near(dataset[2], range(12, 17)) and near(dataset[6], range(10, 15))
    dev = KTHDataset(kth, 'dev', **SMALL)
    assert {dev[index]['data_samples'].clip_name[:8] for index in range(len(dev))} == {'person15'}
    assert [KTHDataset(kth, 'test', persons=[1], **SMALL)[0]['data_samples'].clip_name] == [
        'person01_boxing_d1@00008'
    ]


def test_kth_as_folders_of_pictures(kth, warnings):
    shutil.rmtree(kth / 'boxing')
    frames = flat_frames(range(0, 200, 10))
    kept = {number: frames[number - 1] for number in range(1, 21) if number != 10}
    write_pictures(kth / 'boxing' / 'person01_boxing_d1_uncomp', kept)
    dataset = KTHDataset(kth, 'test', persons=[1], **SMALL)
    assert [dataset[index]['data_samples'].clip_name[-5:] for index in range(len(dataset))] == ['00016']
    assert levels(dataset[0]) == [150, 160, 170, 180, 190]
    whole = KTHDataset(kth, 'test', persons=[1], ann_file='', **SMALL)
    assert [whole[index]['data_samples'].clip_name[-5:] for index in range(len(whole))] == [
        '00005',
        '00011',
        '00016',
    ]
    write_pictures(kth / 'boxing' / 'person01_boxing_d1_uncomp', {12: np.zeros((24, 30), np.uint8)})
    with raises(ValueError, 'image_0012.png', '30 x 24 pixels, expected 32 x 24'):
        KTHDataset(kth, persons=[1], **SMALL)
    write_pictures(kth / 'boxing' / 'person01_boxing_d1_uncomp', {12: np.zeros((24, 32, 3), np.uint8)})
    with raises(ValueError, 'image_0012.png', 'in colour', 'grey'):
        KTHDataset(kth, persons=[1], **SMALL)


def test_kth_sequences_without_room_are_left_out(kth, warnings):
    dataset = KTHDataset(kth, 'test', input_frames=5, output_frames=10, size=16)
    assert len(dataset) == 1
    assert '1 of 2 videos hold no clip of 15 frames' in warnings[-1] and 'person25_jogging_d3' in warnings[-1]
    with raises(ValueError, 'person17_boxing_d1_uncomp.avi', '16 frames', 'expected at least 20 in a row'):
        KTHDataset(kth, 'test')


def test_bad_kth(kth, warnings):
    with raises(FileNotFoundError, kth / 'nowhere', 'no such folder'):
        KTHDataset(kth / 'nowhere')
    with raises(FileNotFoundError, 'no video of persons 2, 3', 'boxing/person01_boxing_d1_uncomp.avi'):
        KTHDataset(kth, persons=(2, 3))
    with raises(FileNotFoundError, 'list.txt', '00sequences.txt'):
        KTHDataset(kth, ann_file='list.txt')
    avi = kth / 'boxing' / 'person01_boxing_d1_uncomp.avi'
    shutil.copy(avi, kth / 'person01_boxing_d1.avi')
    with raises(ValueError, 'person01_boxing_d1', 'the same video as'):
        KTHDataset(kth)
    (kth / 'person01_boxing_d1.avi').unlink()
    data = avi.read_bytes()
    half = (data.index(b'movi') + data.index(b'idx1')) // 2
    for damaged in (data[:half], data[: half - 200] + bytes(400) + data[half + 200 :]):
        avi.write_bytes(damaged)
        with raises(ValueError, avi, 'frames, its header tells of 20', 'damaged'):
            KTHDataset(kth, **SMALL)
    avi.write_bytes(b'RIFF' + bytes(200))
    with raises(ValueError, avi, 'cannot read it'):
        KTHDataset(kth, **SMALL)


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('nothing here\n', ['no sequences', 'person01_boxing_d1 frames 1-95']),
        ('person01_boxing_d1 frames\n', ['line 1', 'no ranges']),
        ('\nperson01_boxing_d1 frames 9-5\n', ['line 2', 'frames 9-5']),
        ('person01_boxing_d1 frames 0-5\n', ['line 1', 'frames 0-5', '1 or more']),
        (
            'person02_boxing_d1 frames 1-5\n',
            ["nothing on 'person01_boxing_d1'", 'person01_boxing_d1_uncomp.avi'],
        ),
        (
            'person01_boxing_d1 frames 1-5, 21-30\n',
            ['frames 21-30', 'frame 20', 'person01_boxing_d1_uncomp.avi'],
        ),
    ],
)
def test_wrong_sequence_lists(kth, warnings, text, parts):
    (kth / '00sequences.txt').write_text(text)
    with raises(ValueError, kth / '00sequences.txt', *parts):
        KTHDataset(kth, **SMALL)


def test_the_official_list_and_real_clips(real_data, warnings):
    root = real_data / 'kth-sample'
    sequences = read_sequence_list(root / '00sequences.txt')
    assert len(sequences) == 600 and sequences['person13_handclapping_d3'] == []
    count = 0
    for name, ranges in sequences.items():
        if int(name[6:8]) >= 17:
            numbers = np.unique(np.concatenate([np.arange(first, last + 1) for first, last in ranges]))
            stride = 3 if name.split('_')[1] in ('jogging', 'running') else 30
            count += len(space_from_end(find_starts(numbers, 30), stride))
    assert count == 5045
    dataset = KTHDataset(root, 'test', persons=(1, 3, 4), output_frames=20, size=128)
    item = dataset[0]
    assert item['inputs'].shape == (30, 1, 128, 128) and item['inputs'].float().std() > 10


# Human3.6M


@pytest.fixture
def human(tmp_path):
    """S1 and S9 with a folder of pictures, S8 with a video, S11 as OpenSTL has its pictures; level =
    number."""
    root = tmp_path / 'human'
    colour = {number: np.full((20, 20, 3), number, np.uint8) for number in range(1, 121)}
    write_pictures(root / 'S1' / 'Eating.54138969', colour, '{:06d}.png')
    write_pictures(root / 'S9' / 'Walking.1', {k: v for k, v in colour.items() if k % 5 == 1}, '{:06d}.png')
    write_video(root / 'S8' / 'Videos' / 'Posing 1.60457274.mkv', np.stack(list(colour.values())))
    write_video(root / 'S8' / 'Videos' / '_ALL 1.60457274.mkv', np.stack(list(colour.values())))
    write_pictures(root / 'images', colour, 'S11_Walking.60457274_{:06d}.jpg')
    return root


def test_human36m_is_split_by_subject(human):
    kwargs = dict(size=16)
    train = Human36MDataset(human, 'train', subjects=[1], **kwargs)
    item = train[SampleRequest(0, 4)]
    start = levels(item)[0]
    assert item['inputs'].shape == (8, 3, 16, 16) and levels(item) == list(range(start, start + 40, 5))
    dev = Human36MDataset(human, 'dev', **kwargs)
    assert [dev[index]['data_samples'].clip_name for index in range(len(dev))] == [
        f'S8/Videos/Posing 1.60457274@{start:05d}' for start in (4, 44, 84)
    ]
    assert levels(dev[0]) == list(range(5, 45, 5))
    test = Human36MDataset(human, 'test', **kwargs)
    names = [test[index]['data_samples'].clip_name for index in range(len(test))]
    assert names == [f'S9/Walking.1@{start:05d}' for start in (1, 41, 81)] + [
        f'S11_Walking.60457274@{start:05d}' for start in (5, 45, 85)
    ]
    assert levels(test[1]) == list(range(41, 81, 5))
    with raises(FileNotFoundError, human, 'no videos of subject 5'):
        Human36MDataset(human, 'train')
    with raises(FileNotFoundError, 'nowhere'):
        Human36MDataset(human / 'nowhere')


def test_openstl_lists_warn_of_their_overlap(human, warnings):
    (human / 'train.txt').write_text(
        ''.join(f'images/S11_Walking.60457274_,{number}\n' for number in (1, 2, 9))
    )
    (human / 'test.txt').write_text('images/S11_Walking.60457274_,6,9\n')
    split = split_of('images/S11_Walking.60457274_', 0.1, 0)
    train = Human36MDataset(human, split, openstl_lists=True, size=16)
    assert len(train) == 3 and levels(train[2])[0] == 9
    assert '8,483 of its 8,582 test windows' in warnings[0]
    test = Human36MDataset(human, 'test', openstl_lists=True, size=16)
    assert levels(test[0]) == list(range(6, 46, 5))
    (human / 'test.txt').write_text('images/S11_Walking.60457274_,100\n')
    with raises(FileNotFoundError, 'S11_Walking.60457274_000125.jpg', 'test.txt'):
        Human36MDataset(human, 'test', openstl_lists=True)
    (human / 'test.txt').write_text('images/S11_Walking.60457274_\n')
    with raises(ValueError, 'test.txt', 'expected such as'):
        Human36MDataset(human, 'test', openstl_lists=True)
    (human / 'test.txt').unlink()
    with raises(FileNotFoundError, 'test.txt', 'OpenSTL'):
        Human36MDataset(human, 'test', openstl_lists=True)


# Folders


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'videos'
    colours = np.stack([np.full((24, 32, 3), (10 * t, 0, 0), np.uint8) for t in range(9)])
    write_video(root / 'a.mkv', colours)
    write_video(root / 'deep' / 'b.mkv', np.repeat(colours, 2, axis=0)[:, :20])
    write_pictures(root / 'deep' / 'c', dict(enumerate(colours)), 'frame{}.png')
    (root / 'list.txt').write_text('a.mkv\ndeep/c/\n')
    return root


def test_folder_videos_by_list(folder):
    dataset = FolderVideoDataset(folder, 'test', ann_file='list.txt', **SMALL)
    assert [dataset[index]['data_samples'].clip_name for index in range(2)] == ['a@00004', 'deep/c@00004']
    assert len(dataset) == 2
    for item in dataset:
        assert item['inputs'].shape == (5, 3, 16, 16)
        assert item['inputs'][:, 0, 8, 8].tolist() == [40, 50, 60, 70, 80] and item['inputs'][:, 1].max() == 0
    with raises(FileNotFoundError, 'other.txt', 'no such file'):
        FolderVideoDataset(folder, ann_file='other.txt')
    (folder / 'list.txt').write_text('a.mkv\nd.mkv\n')
    with raises(FileNotFoundError, 'list.txt', "no video 'd.mkv'"):
        FolderVideoDataset(folder, ann_file='list.txt')
    (folder / 'list.txt').write_text('\n')
    with raises(ValueError, 'list.txt', 'at least one line'):
        FolderVideoDataset(folder, ann_file='list.txt')


def test_folder_videos_by_hash(folder):
    names = ['a', 'deep/b', 'deep/c']
    everything = FolderVideoDataset(folder, fractions=(0, 0), **SMALL)
    found = {
        everything[SampleRequest(place, seed)]['data_samples'].clip_name
        for place in range(5)
        for seed in range(30)
    }
    assert {name.split('@')[0] for name in found} == set(names)
    assert {name for name in found if name.startswith('a@')} == {f'a@{start:05d}' for start in range(5)}
    assert len(everything) == 5  # 9, 18 and 9 frames have 5, 14 and 5 starts, for clips of 5 frames
    splits = [split_of(f'video{index}', 0.1, 0.2) for index in range(2000)]
    shares = [splits.count(split) / 2000 for split in ('train', 'dev', 'test')]
    np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=0.03)
    with raises(ValueError, folder, "in the 'dev' split", 'ann_file'):
        FolderVideoDataset(folder, 'dev', fractions=(0, 0))


def test_grey_videos_step_and_conversion(folder):
    grey = FolderVideoDataset(folder, 'test', fractions=(0, 1), channels=1, step=2, **SMALL)
    assert grey[0]['inputs'].shape == (5, 1, 16, 16)
    red = 0.299 * 10
    np.testing.assert_allclose(levels(grey[0]), np.arange(0, 9, 2) * red, atol=1)


def test_a_folder_of_pictures_can_be_the_only_video(folder):
    alone = FolderVideoDataset(folder / 'deep' / 'c', 'test', fractions=(0, 1), **SMALL)
    assert len(alone) == 1 and alone[0]['data_samples'].clip_name == 'c@00004'


def test_frames_are_cropped_or_stretched():
    frame = np.arange(24 * 32).reshape(24, 32)
    np.testing.assert_array_equal(centre_crop(frame, 1), frame[:, 4:28])
    np.testing.assert_array_equal(centre_crop(frame, 2), frame[4:20])
    picture = np.zeros((24, 32), np.uint8)
    picture[:, 4:28] = 200
    assert ClipFormat(1, (24, 24), crop=True).convert(picture).min() == 200
    assert ClipFormat(1, (24, 24)).convert(picture).min() == 0


def test_bad_folder_videos(folder):
    kwargs = dict(split='test', fractions=(0, 1), size=16)
    with raises(FileNotFoundError, 'nowhere', 'no such folder'):
        FolderVideoDataset(folder / 'nowhere')
    with raises(ValueError, 'a.mkv', '9 frames, expected at least 20'):
        FolderVideoDataset(folder, **kwargs)
    assert len(FolderVideoDataset(folder, input_frames=8, output_frames=8, skip_short=True, **kwargs)) == 1
    with raises(ValueError, 'a.mkv', '9 frames, expected at least 20'):
        FolderVideoDataset(folder, skip_short=True, **kwargs)
    write_video(folder / 'z.mkv', flat_frames(range(20)))
    with raises(ValueError, 'z.mkv', 'grey', 'a.mkv', 'in colour', 'channels=1 or 3'):
        FolderVideoDataset(folder, input_frames=3, output_frames=2, **kwargs)
    both = FolderVideoDataset(folder, input_frames=3, output_frames=2, channels=3, **kwargs)
    assert both[len(both) - 1]['inputs'].shape == (5, 3, 16, 16)
    (folder / 'z.mkv').write_bytes(b'no video')
    with raises(ValueError, 'z.mkv', 'cannot read it'):
        FolderVideoDataset(folder, **kwargs)
    shutil.copy(folder / 'a.mkv', folder / 'a.avi')
    with raises(ValueError, 'a.mkv', 'a.avi', 'suffix alone'):
        FolderVideoDataset(folder, **kwargs)


@pytest.mark.parametrize(
    ('picture', 'parts'),
    [
        (Image.new('RGB', (30, 24)), ['30 x 24 pixels, expected 32 x 24']),
        (Image.new('L', (32, 24)), ['is grey', 'in colour']),
        (Image.new('I;16', (32, 24)), ['is grey', 'in colour']),
        (None, ['expected a whole picture']),
    ],
)
def test_bad_pictures_of_a_folder(folder, picture, parts):
    path = folder / 'deep' / 'c' / 'frame4.png'
    if picture is None:
        path.write_bytes(b'no picture')
    else:
        picture.save(path)
    with raises(ValueError, path, *parts):
        FolderVideoDataset(folder, fractions=(0, 0), **SMALL)


def test_a_truncated_picture_is_named_before_any_is_read(folder):
    path = folder / 'deep' / 'c' / 'frame4.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with raises(ValueError, path, 'cannot decode it'):
        FolderVideoDataset(folder, 'test', ann_file='list.txt', **SMALL)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(fractions=(0.5, 0.6)), 'fractions must be'),
        (dict(channels=2), 'channels must be 1, 3 or None, got 2'),
        (dict(step=0), 'step must be 1 or more, got 0'),
    ],
)
def test_bad_arguments_of_folders_are_named(folder, kwargs, message):
    with raises(ValueError, message):
        FolderVideoDataset(folder, **kwargs)


# All


def test_data_sets_travel_to_other_processes(folder, kth, human, mnist_clips, tmp_path, warnings):
    configs = [
        dict(type='MovingDigitsDataset', size=32),
        dict(type='OccludedDigitsDataset', size=32),
        dict(type='FolderVideoDataset', data_root=str(folder), fractions=(0, 0), **SMALL),
        dict(type='KTHDataset', data_root=str(kth), **SMALL),
        dict(type='Human36MDataset', data_root=str(human), split='dev', size=16),
        dict(type='MovingMNISTDataset', data_root=str(tmp_path), split='test', **SMALL),
    ]
    for config in configs:
        dataset = DATASETS.build(config)
        request = SampleRequest(0, 3)
        before = dataset[request]['inputs']
        data = pickle.dumps(dataset)
        assert (pickle.loads(data)[request]['inputs'] == before).all()
        assert (dataset[request]['inputs'] == before).all()
        batch = pseudo_collate([dataset[request]] * 2)
        assert len(batch['inputs']) == 2 and batch['data_samples'][0].input_frames == dataset.input_frames
