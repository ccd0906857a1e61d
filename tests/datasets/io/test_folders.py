"""One scanner for everything that reads folders: order, clutter, links, names, lists."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_frame, draw_ids, save_ids
from helpers.video_files import write
from PIL import Image

from mmstremn.datasets import (
    DAVISDataset,
    FolderVideoDataset,
    StaticImageDataset,
    YouTubeVOSDataset,
    open_video,
)
from mmstremn.datasets.conversion import find_videos as find_frame_folders
from mmstremn.datasets.io.folders import check_name, list_files, natural_key, read_list, walk
from mmstremn.datasets.prediction.folder_video import find_videos
from mmstremn.datasets.prediction.sources import picture_folder
from mmstremn.datasets.vos.davis_layout import read_sequence, read_sequence_names
from mmstremn.datasets.vos.static_layouts import find_pairs
from mmstremn.datasets.vos.youtube_vos import read_meta


def add_pictures(folder, names, size=(32, 24)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new('RGB', size, (len(name), 90, 200)).save(folder / name)
    return folder


def readers(folder):
    """The names of the frames of a folder by everything that reads one."""
    masks = folder.parent / 'masks of it'
    masks.mkdir(exist_ok=True)
    save_ids(masks / f'{list_files(folder)[0].stem}.png', draw_ids(0, size=(24, 32)))
    return dict(
        open_video=open_video(folder).files,
        conversion=find_frame_folders(folder)[folder.name].frames,
        prediction=picture_folder(folder, 'a').files.values(),
        davis=read_sequence(folder, masks, consecutive=False)[0],
    )


NAMES = [
    ['frame_1.jpg', 'frame_2.jpg', 'frame_9.jpg', 'frame_10.jpg', 'frame_100.jpg'],
    ['8.png', '9.png', '10.png', '11.png'],
    ['a1b9.jpg', 'a1b10.jpg', 'a2b1.jpg', 'a10b1.jpg'],
    ['IMG_1.JPG', 'img_2.jpg', 'IMG_3.Jpeg'],
    ['take.1.png', 'take.2.png', 'take.11.png'],
    ['0 a.bmp', '1 b.tif', '2 c.TIFF', '3 d.webp', '4 ü.PNG', '5 e.JPEG'],
]


@pytest.mark.parametrize('names', NAMES)
def test_natural_order_everywhere(tmp_path, names):
    folder = add_pictures(tmp_path / 'a', reversed(names))
    for reader, files in readers(folder).items():
        assert [Path(file).name for file in files] == names, reader


def test_natural_key_counts_numbers_of_any_length():
    names = ['x', 'x1', 'x01', 'X2', 'x9y1', 'x9y10', 'x10', '12345678901234567890', '9']
    assert sorted(names, key=natural_key) == [
        '9', '12345678901234567890', 'x', 'x01', 'x1', 'X2', 'x9y1', 'x9y10', 'x10',
    ]  # fmt: skip


CLUTTER = ['._00000.png', '.hidden.jpg', 'Thumbs.db', 'desktop.ini', '.DS_Store', 'notes.txt']


def test_clutter_is_left_out_everywhere(tmp_path):
    folder = add_pictures(tmp_path / 'a', ['00000.png', '00001.png'])
    for name in CLUTTER:
        (folder / name).write_bytes(b'\0\5\x16\7')
    for name in ('.ipynb_checkpoints', '__MACOSX', '@eaDir'):
        add_pictures(folder / name, ['00000-checkpoint.png'])
    for reader, files in readers(folder).items():
        assert len(files) == 2, reader
    assert list(find_videos(tmp_path)) == ['a', 'masks of it']
    assert list(walk(folder)) == [folder]


def test_equal_stems_are_an_error_that_names_both(tmp_path):
    folder = add_pictures(tmp_path / 'a', ['00000.jpg', '00001.jpg', '00001.png'])
    for read in (open_video, find_frame_folders, lambda path: picture_folder(path, 'a'), list_files):
        with pytest.raises(ValueError, match=r'00001\.png: differs from 00001\.jpg in its suffix alone'):
            read(folder)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('mode', ['P', 'L', '1'])
def test_a_mask_among_frames(tmp_path, suffix, mode):
    for index in range(4):
        (tmp_path / 'a').mkdir(exist_ok=True)
        Image.fromarray(draw_frame(draw_ids(index))).save(tmp_path / f'a/{index:05d}.{suffix}')
    assert open_video(tmp_path / 'a').num_frames == 4
    Image.fromarray(draw_ids(0) * 255).convert(mode).save(tmp_path / 'a/first_mask.png')
    with pytest.raises(ValueError, match=r'first_mask\.png: a mask among frames'):
        open_video(tmp_path / 'a')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_a_mask_in_colour_among_photographs(tmp_path, mode):
    for index in range(3):
        (tmp_path / 'a').mkdir(exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f'a/{index}.jpg')
    mask = np.zeros((24, 32, 3), np.uint8)
    mask[4:9, 4:9] = (128, 0, 0)
    Image.fromarray(mask).convert(mode).save(tmp_path / 'a/mask.png')
    with pytest.raises(ValueError, match=r'mask\.png: a mask among frames'):
        open_video(tmp_path / 'a')


def test_a_black_grey_frame_is_no_mask(tmp_path):
    add_pictures(tmp_path / 'a', ['0.png', '1.png'])
    Image.new('L', (32, 24)).save(tmp_path / 'a/2.png')
    assert not open_video(tmp_path / 'a').frame(2).any()


def test_frames_of_two_sizes_are_refused_before_any_is_decoded(tmp_path):
    add_pictures(tmp_path / 'a', ['0.png', '1.png'])
    add_pictures(tmp_path / 'a', ['2.png'], size=(30, 24))
    with pytest.raises(ValueError, match=r'2\.png: 30 x 24 pixels, expected 32 x 24'):
        open_video(tmp_path / 'a')


# Symbolic links


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_a_frame_that_is_cut_off_is_named_before_any_work(tmp_path, suffix):
    frames = add_pictures(tmp_path / 'a', [f'{k}.{suffix}' for k in range(3)])
    path = frames / f'1.{suffix}'
    path.write_bytes(path.read_bytes() + b'what a camera adds')
    assert open_video(frames).num_frames == 3
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=f'1.{suffix}: expected a whole picture'):
        open_video(frames)


def test_links_are_followed_and_loops_are_caught(tmp_path):
    add_pictures(tmp_path / 'disk/b', ['0.png', '1.png'])
    root = add_pictures(tmp_path / 'data/a', ['0.png', '1.png']).parent
    (root / 'b').symlink_to(tmp_path / 'disk/b')
    (root / 'a/up').symlink_to(root)
    (root / 'a/2.png').symlink_to(tmp_path / 'disk/b/0.png')
    assert list(find_videos(root)) == ['a', 'b'] == list(find_frame_folders(root))
    assert open_video(root / 'a').num_frames == 3
    data = FolderVideoDataset(
        str(root), split='test', fractions=(0, 1), input_frames=1, output_frames=1, size=16, channels=3
    )
    assert len(data) == 2


def test_a_link_to_nothing_is_named(tmp_path):
    add_pictures(tmp_path / 'a', ['0.png'])
    (tmp_path / 'a/1.png').symlink_to(tmp_path / 'gone.png')
    with pytest.raises(FileNotFoundError, match=r'1\.png: a link to .*gone\.png'):
        open_video(tmp_path / 'a')


# Covers


def test_what_is_no_file_is_left_out(tmp_path):
    (tmp_path / '0.png').touch()
    (tmp_path / '1.png').mkdir()
    os.mkfifo(tmp_path / '2.png')  # nobody waits for it
    assert [path.name for path in list_files(tmp_path)] == ['0.png']


def test_names_that_are_no_text_are_refused_before_any_work(tmp_path):
    name = os.fsdecode(b'caf\xe9')
    frames = add_pictures(tmp_path / 'a', [f'{name}.png'])
    folder = add_pictures(tmp_path / name, ['0.png'])
    (tmp_path / f'{name}.mp4').touch()
    for read, path in (
        (open_video, frames),
        (open_video, folder),
        (list_files, frames),
        (open_video, tmp_path / f'{name}.mp4'),
    ):
        with pytest.raises(ValueError, match=r'caf\\udce9.* the name is no UTF-8, rename it'):
            read(path)


def test_names_in_both_forms_of_unicode_are_one(tmp_path):
    """A data set from macOS, of which lists or masks were made elsewhere."""
    nfd, nfc = (unicodedata.normalize(form, 'épée') for form in ('NFD', 'NFC'))
    add_sequence(tmp_path, nfc, [draw_ids(k) for k in range(3)])
    frames = tmp_path / 'JPEGImages/480p' / nfc
    for k in range(3):
        (frames / f'{k:05d}.jpg').rename(frames / f'{nfd}_{k}.jpg')
        mask = tmp_path / f'Annotations/480p/{nfc}/{k:05d}.png'
        mask.rename(mask.with_stem(f'{nfc}_{k}'))
    frames.rename(frames.with_name(nfd))
    video = DAVISDataset(str(tmp_path), split='val', test_mode=True)[0]['inputs']
    assert video.num_frames == 3 and len(video.annotated) == 3


def test_covers_beside_videos_are_left_out(tmp_path):
    add_pictures(tmp_path / 'a', ['cover.jpg', 'v.jpg'])
    write(tmp_path / 'a/v.MP4', 'libx264', frames=3)
    assert find_videos(tmp_path) == {'a/v': tmp_path / 'a/v.MP4'}
    frames = add_pictures(tmp_path / 'b/x', ['0.png', '1.png'])
    add_pictures(tmp_path / 'b', ['folder.jpg'])
    assert find_videos(tmp_path / 'b') == {'x': frames}
    assert list(find_frame_folders(tmp_path / 'b')) == ['x']


# Lists


@pytest.mark.parametrize(
    'data',
    [b'my dog\ntake.1\n', b'\xef\xbb\xbfmy dog\r\ntake.1\r\n', b'\n  my dog \n\n\ttake.1', b'my dog\ntake.1'],
)
def test_lists(tmp_path, data):
    (tmp_path / 'list.txt').write_bytes(data)
    assert read_list(tmp_path / 'list.txt') == ['my dog', 'take.1']


@pytest.mark.parametrize(
    ('data', 'message'), [(b'\r\n \n', 'at least one line'), ('a\n'.encode('utf-16'), 'UTF-8')]
)
def test_bad_lists_are_named(tmp_path, data, message):
    (tmp_path / 'list.txt').write_bytes(data)
    with pytest.raises(ValueError, match=rf'list\.txt: .*{message}'):
        read_list(tmp_path / 'list.txt')


def test_davis_lists(tmp_path):
    (tmp_path / 'JPEGImages/480p').mkdir(parents=True)
    (tmp_path / 'ImageSets/2016').mkdir(parents=True)
    lines = [
        '/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png ',
        '/JPEGImages/480p/my dog/00000.JPG /Annotations/480p/my dog/00000.png',
        'JPEGImages/480p/cow/00000.jpg',
        'take:1 of 2',
    ]
    (tmp_path / 'ImageSets/2016/val.txt').write_bytes('\ufeff'.encode() + '\r\n'.join(lines).encode())
    assert read_sequence_names(tmp_path, 2016, 'val', '480p') == ['bear', 'my dog', 'cow', 'take:1 of 2']


def test_a_davis_data_set_with_spaces_upper_case_and_windows_lines(tmp_path):
    add_sequence(tmp_path, 'my dog', [draw_ids(i) for i in range(3)])
    for path in list(tmp_path.rglob('0000*')):
        path.rename(path.with_suffix(path.suffix.upper()))
    (tmp_path / 'ImageSets/2017/val.txt').write_bytes(b'\xef\xbb\xbfmy dog\r\n')
    video = DAVISDataset(tmp_path, split='val', test_mode=True)[0]['inputs']
    assert (video.name, video.num_frames, video.annotated) == ('my dog', 3, [0, 1, 2])


def test_collections_of_pictures(tmp_path):
    add_pictures(tmp_path / 'images', ['a 1.JPG', 'a 10.jpg', 'a 2.webp'])
    (tmp_path / 'masks').mkdir()
    for name in ('a 1', 'a 2', 'a 10'):
        save_ids(tmp_path / f'masks/{name}.png', draw_ids(0, size=(24, 32)))
    (tmp_path / 'masks/._a 1.png').write_bytes(b'\0')
    (tmp_path / 'list.txt').write_text('a 10\r\na 2\r\n')
    assert [pair.name for pair in find_pairs(tmp_path, 'plain')] == ['a 1', 'a 2', 'a 10']
    assert [pair.name for pair in find_pairs(tmp_path, 'list')] == ['a 10', 'a 2']


# Names that lead elsewhere

BAD_NAMES = ['../../escaped', '..', '.', '', ' ', '/etc', 'a/../../b', 'a//b', '..\\escaped', 'a\nb', 'a\0b']


@pytest.mark.parametrize('name', BAD_NAMES)
def test_names_that_lead_out_of_a_folder(name):
    with pytest.raises(ValueError, match=r'meta\.json: the name .* leads out'):
        check_name(name, 'meta.json')


@pytest.mark.parametrize('name', ['a', 'my dog', 'take.1', '10:22:33', 'a/b', '..a', 'ü 犬', 'a..b'])
def test_names_that_do_not(name):
    assert check_name(name, 'meta.json') == name


def test_every_file_that_names_videos_is_checked(tmp_path):
    meta = dict(videos={'../../escaped': dict(objects={'1': dict(category='dog', frames=['00000'])})})
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train/meta.json').write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r'escaped.* leads out'):
        read_meta(tmp_path / 'train/meta.json')
    with pytest.raises(ValueError, match=r'escaped.* leads out'):
        YouTubeVOSDataset(str(tmp_path))
    add_sequence(tmp_path, 'a', [draw_ids(0)])
    (tmp_path / 'ImageSets/2017/val.txt').write_text('../escaped\n')
    with pytest.raises(ValueError, match=r'escaped.* leads out'):
        DAVISDataset(tmp_path, split='val')
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'list.txt').write_text('../../escaped\n')
    with pytest.raises(ValueError, match=r'escaped.* leads out'):
        StaticImageDataset(tmp_path)


def test_meta_json_with_a_byte_order_mark_and_numbers_without_zeros(tmp_path):
    meta = dict(videos=dict(a=dict(objects={'1': dict(category='dog', frames=['10', '9', '2'])})))
    (tmp_path / 'meta.json').write_bytes(b'\xef\xbb\xbf' + json.dumps(meta).encode())
    assert read_meta(tmp_path / 'meta.json')['a'][1].frames == ('2', '9', '10')
    (tmp_path / 'meta.json').write_text('[' * 100_000)
    with pytest.raises(ValueError, match=r'meta\.json: expected'):
        read_meta(tmp_path / 'meta.json')


def test_videos_whose_names_differ_in_a_space_are_kept_apart(tmp_path):
    for name in ('two cats', 'two_cats'):
        add_pictures(tmp_path / name, ['0.png'])
    assert list(find_frame_folders(tmp_path)) == ['two cats', 'two_cats']
    assert [open_video(folder).name for folder in sorted(tmp_path.iterdir())] == ['two cats', 'two_cats']
    assert open_video(add_pictures(tmp_path / 'take.1', ['0.png'])).name == 'take.1'
    assert np.array_equal(open_video(tmp_path / 'take.1').frame(0)[0, 0], [5, 90, 200])
