"""Bad input ends in an error that names the file and what was expected."""

import re

import numpy as np
import pytest
from helpers.davis_tree import SIZE, add_sequence, draw_frame, draw_ids, save_ids
from PIL import Image

from mmstremn.datasets import DAVISDataset, StaticImageDataset, VideoFile, open_video
from mmstremn.datasets.io.images import read_rgb
from mmstremn.datasets.io.masks import read_mask


@pytest.fixture
def sequence(tmp_path):
    """Root, folder of frames, folder of masks of a good sequence of 6 frames."""
    return tmp_path, *add_sequence(tmp_path, 'seq', [draw_ids(i, (1, 2)) for i in range(6)])


def load(root, test_mode=True, **kwargs):
    return DAVISDataset(root, split=kwargs.pop('split', 'val'), test_mode=test_mode, **kwargs)


def raises(error, *parts):
    return pytest.raises(error, match='.*'.join(re.escape(str(part)) for part in parts))


# DAVIS: files


def test_missing_root(tmp_path):
    with raises(FileNotFoundError, tmp_path / 'nowhere', 'expected JPEGImages'):
        load(tmp_path / 'nowhere')


def test_unknown_split(sequence):
    what_to_do = 'write one, a name a line, or set another split; splits of 2017: val'
    with raises(FileNotFoundError, 'ImageSets/2017/tset.txt', what_to_do):
        load(sequence[0], split='tset')


def test_unknown_resolution(sequence):
    with raises(FileNotFoundError, 'JPEGImages/1080p', 'no such folder', 'resolutions: 480p'):
        load(sequence[0], resolution='1080p')


def test_missing_sequence(sequence):
    with (sequence[0] / 'ImageSets/2017/val.txt').open('a') as file:
        file.write('gone\n')
    with raises(FileNotFoundError, 'JPEGImages/480p/gone', 'no such folder'):
        load(sequence[0])


@pytest.mark.parametrize('test_mode', [False, True])
def test_missing_frames(sequence, test_mode):
    root, frame_dir, mask_dir = sequence
    for index in (3, 4):
        (frame_dir / f'{index:05d}.jpg').unlink()
        (mask_dir / f'{index:05d}.png').unlink()
    with raises(FileNotFoundError, frame_dir, 'missing frames', 'expected frame 3 after 2, found 5'):
        load(root, test_mode)


def test_constant_steps_between_frames_are_no_gap(sequence):
    root, frame_dir, mask_dir = sequence
    for folder, suffix in ((frame_dir, 'jpg'), (mask_dir, 'png')):
        for index in (1, 3, 5):
            (folder / f'{index:05d}.{suffix}').unlink()
    assert load(root)[0]['inputs'].frame_names == ['00000', '00002', '00004']


def test_first_mask_at_a_later_frame(sequence):
    for index in range(3):
        (sequence[2] / f'{index:05d}.png').unlink()
    video = load(sequence[0])[0]['inputs']
    assert list(video.prompts) == [3] and video.object_ids == [1, 2]
    assert len(load(sequence[0], test_mode=False)) == 1


def test_mask_without_frame(sequence):
    save_ids(sequence[2] / '00009.png', draw_ids(0))
    with raises(ValueError, sequence[2] / '00009.png', "expected frame '00009'"):
        load(sequence[0])


def test_mask_of_another_size(sequence):
    save_ids(sequence[2] / '00002.png', draw_ids(0, size=(40, 60)))
    with raises(ValueError, sequence[2] / '00002.png', '60 x 40 pixels, expected 64 x 48', '00002.jpg'):
        load(sequence[0], test_mode=False)


def test_frame_of_another_size(sequence):
    Image.new('RGB', (60, 40)).save(sequence[1] / '00004.jpg')
    with raises(ValueError, sequence[1] / '00004.jpg', '60 x 40 pixels, expected 64 x 48'):
        load(sequence[0], test_mode=False)


def test_wrong_mode(sequence):
    Image.fromarray(draw_ids(0)).convert('CMYK').save(sequence[2] / '00001.png', 'TIFF')
    with raises(
        ValueError, sequence[2] / '00001.png', 'wrong palette/mode', 'PNG of object ids', 'found mode CMYK'
    ):
        load(sequence[0], test_mode=False)


@pytest.mark.parametrize('content', [b'', b'not a picture at all'])
def test_frame_that_is_no_picture(sequence, content):
    (sequence[1] / '00001.jpg').write_bytes(content)
    with raises(ValueError, sequence[1] / '00001.jpg', 'expected a whole picture'):
        load(sequence[0])


# DAVIS: what the masks hold (testing)


def test_empty_first_mask(tmp_path):
    _, mask_dir = add_sequence(tmp_path, 'seq', [np.zeros(SIZE, np.uint8)] * 3)
    with raises(ValueError, 'first mask', mask_dir / '00000.png', 'is empty', 'expected at least one object'):
        load(tmp_path)


def test_empty_first_mask_is_fine_where_objects_appear_later(tmp_path):
    add_sequence(tmp_path, 'seq', [np.zeros(SIZE, np.uint8), draw_ids(1), draw_ids(2)])
    assert load(tmp_path)[0]['data_samples'].object_ids == [1]


def test_mask_of_davis_2016_read_as_2017(tmp_path):
    add_sequence(tmp_path, 'seq', [draw_ids(i, (255,)) for i in range(3)])
    with raises(ValueError, 'first mask', 'set year=2016'):
        load(tmp_path)


def test_ids_with_gaps(tmp_path):
    add_sequence(tmp_path, 'seq', [draw_ids(i, (1, 3)) for i in range(3)])
    assert load(tmp_path)[0]['data_samples'].object_ids == [1, 3]
    assert load(tmp_path, test_mode=False, min_object_area=16)[0]['data_samples'].object_ids == [1, 3]


def test_gap_filled_later_is_none(tmp_path):
    add_sequence(tmp_path, 'seq', [draw_ids(0, (2,)), draw_ids(1, (1, 2))])
    assert load(tmp_path)[0]['data_samples'].object_ids == [1, 2]


@pytest.mark.parametrize('ids', [(3,), (1, 4), (254,)])
def test_any_ids_will_do(tmp_path, ids):
    add_sequence(tmp_path, 'seq', [draw_ids(0, ids[:1]), draw_ids(1, ids)])
    assert load(tmp_path)[0]['data_samples'].object_ids == list(ids)


# Static images


@pytest.fixture
def pictures(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for name in 'ab':
        Image.fromarray(draw_frame(draw_ids(0))).save(tmp_path / f'images/{name}.jpg')
        save_ids(tmp_path / f'masks/{name}.png', draw_ids(0))
    (tmp_path / 'list.txt').write_text('a\nb\n')
    return tmp_path


def test_image_without_mask(pictures):
    (pictures / 'masks/b.png').unlink()
    with raises(FileNotFoundError, pictures / 'masks/b.png', 'expected the mask of', 'images/b.jpg'):
        StaticImageDataset(pictures)


def test_listed_image_is_missing(pictures):
    (pictures / 'images/b.jpg').unlink()
    with raises(FileNotFoundError, pictures / 'images/b.jpg', "expected the image of 'b'"):
        StaticImageDataset(pictures)


def test_static_mask_of_another_size(pictures):
    save_ids(pictures / 'masks/b.png', draw_ids(0, size=(40, 60)))
    with raises(ValueError, pictures / 'masks/b.png', '60 x 40 pixels, expected 64 x 48'):
        StaticImageDataset(pictures)


def test_missing_list(pictures):
    with raises(FileNotFoundError, 'other.txt', 'expected a list of image names'):
        StaticImageDataset(pictures, ann_file='other.txt')


# Single files


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('lost', [2, 100, 'half'])
def test_truncated_picture(tmp_path, suffix, lost):
    path = tmp_path / f'cut.{suffix}'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    data = path.read_bytes()
    if suffix == 'png' and lost == 2:
        pytest.skip('a PNG has more than 2 bytes after its last pixel')
    path.write_bytes(data[: len(data) // 2 if lost == 'half' else -lost])
    with raises(ValueError, path, 'expected a whole picture'):
        read_rgb(path)


def test_truncated_mask(tmp_path):
    path = tmp_path / 'cut.png'
    save_ids(path, np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:1500])
    with raises(ValueError, path, 'expected a whole picture'):
        read_mask(path)


def test_truncated_jpeg_met_in_training(sequence):
    for path in sequence[1].iterdir():
        path.write_bytes(path.read_bytes()[:-60])
    with raises(ValueError, sequence[1], '.jpg', 'expected a whole picture'):
        load(sequence[0], test_mode=False)[0]


@pytest.mark.parametrize('read', [read_rgb, read_mask])
def test_empty_wrong_and_missing_files(tmp_path, read):
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.png').write_text('not a picture')
    for name in ('empty.png', 'text.png'):
        with raises(ValueError, name, 'expected a whole picture'):
            read(tmp_path / name)
    with raises(FileNotFoundError, 'gone.png'):
        read(tmp_path / 'gone.png')


def test_video_file_that_is_none(tmp_path):
    (tmp_path / 'a.mp4').write_text('not a video')
    with raises(ValueError, 'a.mp4', 'expected a video file'):
        VideoFile(tmp_path / 'a.mp4')
    with raises(FileNotFoundError, 'gone.mp4', 'expected a video'):
        open_video(tmp_path / 'gone.mp4')
    (tmp_path / 'none').mkdir()
    with raises(ValueError, 'none', 'no pictures'):
        open_video(tmp_path / 'none')


def test_first_mask_of_another_size(sequence):
    save_ids(sequence[0] / 'first.png', draw_ids(0, size=(40, 60)))
    with raises(ValueError, 'first.png', '(40, 60), expected (48, 64)'):
        open_video(sequence[1], sequence[0] / 'first.png')
