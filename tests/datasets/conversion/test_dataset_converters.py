"""From what annotation tools write to the DAVIS layout, and the whole way to a model fine-tuned on it."""

import base64
import io
import json
import runpy
import sys

import numpy as np
import pytest
import torch
from helpers.annotation_files import add_frames, add_labelme, annotation, coco, polygon, save_json, shape
from helpers.davis_tree import SIZE, draw_frame, draw_ids, save_ids
from helpers.runs import ROOT, run_tool
from mmengine.config import Config
from PIL import Image

from mmstremn.datasets import DAVISDataset, SampleRequest
from mmstremn.datasets.io.masks import read_mask
from mmstremn.registry import MODELS

TOOL = ROOT / 'tools/dataset_converters/to_davis.py'
FINETUNE = ROOT / 'configs/vos/finetune.py'


@pytest.fixture
def convert(capsys):
    """A function: run the tool with arguments; its exit code and what it printed."""
    main = runpy.run_path(str(TOOL))['main']

    def run(*argv):
        code = main([str(arg) for arg in argv])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def written_mask(out, video, index):
    return read_mask(out / 'Annotations/480p' / video / f'{index:05d}.png')


def member_files(out, video, kind='Annotations'):
    return sorted(path.name for path in (out / kind / '480p' / video).iterdir())


# Labelme and X-AnyLabeling


def test_labelme_to_davis(tmp_path, convert):
    frames = add_frames(tmp_path / 'my video')
    add_labelme(frames, 0, [shape(0, 1)])
    add_labelme(frames, 2, [shape(2, 2, 'rectangle'), shape(2, 1, 'rotation')])
    add_labelme(frames, 10, [])
    out = tmp_path / 'out'
    code, output = convert('labelme', frames, out)
    assert code == 0, output
    assert 'my video: 3 of 12 frames are annotated; objects: 1 dog, 2 cat' in output
    assert json.loads((out / 'ids.json').read_text()) == {'my video': dict(dog=1, cat=2)}
    assert json.loads((out / 'frames.json').read_text())['my video']['00010'] == '10.jpg'
    assert (out / 'JPEGImages/480p/my video/00010.jpg').read_bytes() == (frames / '10.jpg').read_bytes()
    assert [(out / f'ImageSets/2017/{split}.txt').read_text() for split in ('train', 'val')] == [
        'my video\n'
    ] * 2
    assert member_files(out, 'my video') == ['00000.png', '00002.png', '00010.png']
    assert np.array_equal(written_mask(out, 'my video', 0), np.where(draw_ids(0, (1, 2)) == 1, 1, 0))
    assert np.array_equal(written_mask(out, 'my video', 2), draw_ids(2, (1, 2)))
    assert not written_mask(out, 'my video', 10).any()
    video = DAVISDataset(out, split='val', test_mode=True)[0]['inputs']
    assert video.annotated == [0, 2, 10] and video.object_ids == [1, 2] and list(video.prompts) == [0, 2]


def test_groups_are_objects_and_parts_of_one_object_are_joined(tmp_path, convert):
    frames = add_frames(tmp_path / 'a')
    add_labelme(frames, 0, [shape(0, 1, group_id=3), shape(0, 2, label='dog', group_id=7)])
    add_labelme(frames, 1, [shape(1, 2, label='dog', group_id=7), shape(1, 1, label='dog', group_id=7)])
    out = tmp_path / 'out'
    assert convert('labelme', frames, out)[0] == 0
    assert json.loads((out / 'ids.json').read_text())['a'] == dict(dog_3=1, dog_7=2)
    assert np.array_equal(written_mask(out, 'a', 0), draw_ids(0, (1, 2)))
    assert np.array_equal(written_mask(out, 'a', 1), np.where(draw_ids(1, (1, 2)) > 0, 2, 0))


def test_circles_and_masks_of_labelme(tmp_path, convert):
    frames = add_frames(tmp_path / 'a')
    buffer = io.BytesIO()
    Image.fromarray(np.eye(12, dtype=np.uint8) * 255).save(buffer, 'PNG')
    coded = dict(mask=base64.b64encode(buffer.getvalue()).decode(), points=[[50, 40], [62, 52]])
    add_labelme(
        frames, 0, [shape(0, 1, 'circle', points=[[20.5, 20.5], [28.5, 20.5]]), shape(0, 2, 'mask', **coded)]
    )
    out = tmp_path / 'out'
    assert convert('labelme', frames, out)[0] == 0
    mask = written_mask(out, 'a', 0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    disk = np.hypot(rows - 20, columns - 20) < 8
    assert ((mask == 1) != disk).sum() <= 0.05 * disk.sum()
    assert np.array_equal(np.argwhere(mask == 2), np.stack([np.arange(40, 48), np.arange(50, 58)], 1))


def test_a_video_begins_with_its_first_object(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', names='shot {}.jpg')
    for index, shapes in ((1, []), (3, [shape(3, 2)]), (5, [shape(5, 2)])):
        add_labelme(frames, f'shot {index}', shapes)
    out = tmp_path / 'out'
    assert convert('labelme', frames, out)[0] == 0
    assert (
        member_files(out, 'a') == ['00000.png', '00002.png']
        and len(member_files(out, 'a', 'JPEGImages')) == 9
    )
    assert json.loads((out / 'frames.json').read_text())['a']['00000'] == 'shot 3.jpg'
    assert DAVISDataset(out, split='val', test_mode=True)[0]['data_samples'].object_ids == [1]


def test_several_videos_annotations_elsewhere_and_lists(tmp_path, convert):
    for name in ('one', 'two', 'three', 'none'):
        add_frames(tmp_path / 'frames' / name)
    for name in ('one', 'two', 'three'):
        add_labelme(tmp_path / 'json' / name, 0, [shape(0, 1)])
    out = tmp_path / 'out'
    code, output = convert(
        'labelme', tmp_path / 'frames', out, '--annotations', tmp_path / 'json', '--val', 'two'
    )
    assert code == 0 and 'Not annotated, left out: none' in output
    assert (out / 'ImageSets/2017/train.txt').read_text().split() == ['one', 'three']
    assert (out / 'ImageSets/2017/val.txt').read_text().split() == ['two']


# COCO and YouTube-VIS


def rle(index, k, compressed=False):
    """Run lengths of object k, column by column from a run of zeros on."""
    flat = (draw_ids(index, (1, 2)) == k).T.ravel()
    borders = np.flatnonzero(np.diff(np.r_[0, flat, 0].astype(int)))
    counts = np.diff(np.r_[0, borders, len(flat)]).tolist()
    coded = dict(size=list(SIZE), counts=counts)
    if not compressed:
        return coded
    mask = pytest.importorskip('pycocotools.mask')
    coded = mask.frPyObjects(coded, *SIZE)
    return coded | dict(counts=coded['counts'].decode())


@pytest.mark.parametrize('compressed', [False, True])
def test_coco_to_davis(tmp_path, convert, compressed):
    pytest.importorskip('pycocotools')
    frames = add_frames(tmp_path / 'a')
    annotations = [
        annotation(0, 1),
        annotation(0, 2),
        annotation(4, 2, rle(4, 2, compressed)),
        annotation(4, 1),
    ]
    path = save_json(tmp_path / 'coco.json', coco(annotations))
    out = tmp_path / 'out'
    code, output = convert('coco', frames, out, '--annotations', path)
    assert code == 0, output
    assert member_files(out, 'a') == ['00000.png', '00004.png']
    for index in (0, 4):
        assert np.array_equal(written_mask(out, 'a', index), draw_ids(index, (1, 2)))


def test_track_ids_tell_objects_of_one_category_apart_and_crowds_are_void(tmp_path, convert):
    frames = add_frames(tmp_path / 'a')
    tracks = [
        dict(category_id=1, attributes=dict(track_id=4)),
        dict(category_id=1, attributes=dict(track_id=9)),
    ]
    annotations = [annotation(0, k, **track) for k, track in zip((1, 2), tracks, strict=True)]
    annotations += [annotation(3, 2, **tracks[1]), annotation(3, 1, iscrowd=1)]
    out = tmp_path / 'out'
    assert (
        convert('coco', frames, out, '--annotations', save_json(tmp_path / 'c.json', coco(annotations)))[0]
        == 0
    )
    assert json.loads((out / 'ids.json').read_text())['a'] == dict(dog_4=1, dog_9=2)
    expected = draw_ids(3, (1, 2))
    assert np.array_equal(written_mask(out, 'a', 3), np.where(expected == 1, 255, expected))


def test_youtube_vis_to_davis(tmp_path, convert):
    for name in ('one', 'two'):
        add_frames(tmp_path / 'frames' / name, 3)
    videos = [
        dict(id=i, file_names=[f'{name}/{j}.jpg' for j in range(3)], height=SIZE[0], width=SIZE[1])
        for i, name in enumerate(('one', 'two'))
    ]
    tracks = [
        dict(id=5, video_id=0, category_id=1, segmentations=[polygon(0, 1), None, polygon(2, 1)]),
        dict(id=6, video_id=0, category_id=1, segmentations=[None, None, polygon(2, 2)]),
        dict(id=7, video_id=1, category_id=2, segmentations=[polygon(0, 2), None, None]),
    ]
    path = save_json(
        tmp_path / 'vis.json', dict(videos=videos, annotations=tracks, categories=coco([])['categories'])
    )
    out = tmp_path / 'out'
    code, output = convert('coco', tmp_path / 'frames', out, '--annotations', path)
    assert code == 0, output
    assert json.loads((out / 'ids.json').read_text()) == dict(one=dict(dog_5=1, dog_6=2), two=dict(cat_7=1))
    assert member_files(out, 'one') == ['00000.png', '00002.png'] and member_files(out, 'two') == [
        '00000.png'
    ]
    assert np.array_equal(written_mask(out, 'one', 2), draw_ids(2, (1, 2)))


def test_polygons_without_pycocotools_say_what_to_install(tmp_path, convert, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    path = save_json(tmp_path / 'c.json', coco([annotation(0, 1)]))
    code, output = convert('coco', add_frames(tmp_path / 'a'), tmp_path / 'out', '--annotations', path)
    assert (
        code == 1 and "annotation 1: polygons need pycocotools: pip install 'mmstremn[conversion]'" in output
    )
    assert not (tmp_path / 'out').exists()


# Masks


def test_masks_with_gaps_in_their_ids_and_void(tmp_path, convert):
    frames = add_frames(tmp_path / 'a')
    ids = draw_ids(0, (2, 7))
    ids[:, -4:] = 255
    save_ids(tmp_path / 'masks/0.png', ids)
    save_ids(tmp_path / 'masks/6.png', draw_ids(6, (2, 7)))
    out = tmp_path / 'out'
    code, output = convert('masks', frames, out, '--annotations', tmp_path / 'masks')
    assert code == 0, output
    assert json.loads((out / 'ids.json').read_text())['a'] == {'2': 1, '7': 2}
    expected = draw_ids(0, (1, 2))
    expected[:, -4:] = 255
    assert np.array_equal(written_mask(out, 'a', 0), expected)
    assert DAVISDataset(out, split='val', test_mode=True)[0]['data_samples'].object_ids == [1, 2]


def test_black_and_white_masks_show_one_object(tmp_path, convert):
    frames = add_frames(tmp_path / 'a')
    (tmp_path / 'masks').mkdir()
    Image.fromarray((draw_ids(0) > 0).astype(np.uint8) * 255).save(tmp_path / 'masks/0.png')
    assert convert('masks', frames, tmp_path / 'out', '--annotations', tmp_path / 'masks')[0] == 0
    assert np.array_equal(written_mask(tmp_path / 'out', 'a', 0), draw_ids(0))


# Bad input: what is wrong, in which file, and nothing is written


LABELME_ERRORS = {
    'another size': (dict(size=(40, 60)), ['60 x 40 pixels', 'expected 64 x 48 pixels like']),
    'another tool': (
        dict(shapes=None, regions=[]),
        ['expected a file of Labelme', "'regions'", 'another tool'],
    ),
    'no size': (dict(imageHeight=None), ['expected imageHeight and imageWidth', 'None and 64']),
    'no label': (dict(shapes=[shape(0, 1, label='')]), ['shape 0', 'expected a label']),
    'a line': (
        dict(shapes=[shape(0, 1), shape(0, 2, 'linestrip')]),
        ["shape 1 ('cat')", 'a linestrip has no area'],
    ),
    'two points': (
        dict(shapes=[shape(0, 1, points=[[1, 1], [5, 5]])]),
        ['a polygon: expected at least 3 points, found 2'],
    ),
    'no object': (dict(shapes=[]), ["video 'a'", 'none of its 1 masks shows an object']),
    'outside': (
        dict(shapes=[shape(0, 1), shape(0, 2, points=[[90, 90], [99, 90], [99, 99]])]),
        ["no pixel of 'cat' is to be seen"],
    ),
    'bad mask': (dict(shapes=[shape(0, 1, 'mask', mask='?')]), ["expected 'mask', a PNG in base64"]),
}


@pytest.mark.parametrize('kind', LABELME_ERRORS)
def test_bad_labelme_files(tmp_path, convert, kind):
    change, messages = LABELME_ERRORS[kind]
    frames = add_frames(tmp_path / 'a')
    add_labelme(frames, 0, **(dict(shapes=[shape(0, 1)]) | change))
    code, output = convert('labelme', frames, tmp_path / 'out')
    assert code == 1 and '0.json' in output and not (tmp_path / 'out').exists()
    for message in messages:
        assert message in output


COCO_ERRORS = {
    'another tool': (dict(shapes=[]), ["found the keys ['shapes']", 'another tool']),
    'neither': (dict(annotations=[], categories=[]), ["found the keys ['annotations', 'categories']"]),
    'a list': ([1], ['found a list']),
    'missing frame': (coco([annotation(0, 1)], number=13), ["file_name '12.jpg'", "no frame '12'"]),
    'another size': (
        coco([annotation(0, 1)], images=[dict(id=100, file_name='0.jpg', height=9, width=9)]),
        ['9 x 9 pixels'],
    ),
    'unknown image': (coco([annotation(50, 1)]), ['annotation 501: image_id 150']),
    'unknown category': (
        coco([annotation(0, 1, category_id=9)]),
        ["annotation 1: category_id 9, expected the id of one of 'categories'"],
    ),
    'a box alone': (
        coco([annotation(0, 1, bbox=[1, 2, 3, 4]) | dict(segmentation=[])]),
        ['a box alone is no mask'],
    ),
    'no polygon': (coco([annotation(0, 1, [[1, 2, 3]])]), ['annotation 1: expected polygons']),
    'two of a kind': (
        coco([annotation(0, 1), annotation(0, 2, category_id=1)]),
        ["a second 'dog'", 'expected a track_id'],
    ),
    'no file name': (coco([], images=[dict(id=1)]), ["missing or of another kind (KeyError('file_name'))"]),
    'rle of another size': (
        coco([annotation(0, 1, dict(size=[9, 9], counts=[81]))]),
        ['size [9, 9], expected [48, 64]'],
    ),
}


@pytest.mark.parametrize('kind', COCO_ERRORS)
def test_bad_coco_files(tmp_path, convert, kind):
    if 'rle' in kind:
        pytest.importorskip('pycocotools')
    data, messages = COCO_ERRORS[kind]
    path = save_json(tmp_path / 'coco.json', data)
    code, output = convert('coco', add_frames(tmp_path / 'a'), tmp_path / 'out', '--annotations', path)
    assert code == 1 and 'coco.json' in output and not (tmp_path / 'out').exists()
    for message in messages:
        assert message in output


def test_bad_masks_and_frames(tmp_path, convert):
    frames, masks, out = add_frames(tmp_path / 'a'), tmp_path / 'masks', tmp_path / 'out'

    def message():
        code, output = convert('masks', frames, out, '--annotations', masks)
        assert code == 1 and not out.exists()
        return output

    save_ids(masks / '0.png', draw_ids(0, size=(40, 60)))
    assert '0.png: 60 x 40 pixels, expected 64 x 48 pixels like' in message()
    Image.fromarray(draw_ids(0)).convert('CMYK').save(masks / '0.png'.replace('png', 'tif'))
    (masks / '0.png').unlink()
    assert '0.tif: wrong palette/mode' in message()
    (masks / '0.tif').unlink()
    save_ids(masks / '0.png', draw_ids(0))
    save_ids(masks / '40.png', draw_ids(0))
    assert "40.png: no frame '40'" in message()
    (masks / '40.png').unlink()
    save_ids(masks / '0.bmp', draw_ids(0))
    assert 'in its suffix alone' in message()
    (masks / '0.bmp').unlink()
    Image.fromarray(draw_frame(draw_ids(0, size=(40, 60)))).save(frames / '7.jpg')
    assert '7.jpg: 60 x 40 pixels, expected 64 x 48' in message()
    Image.fromarray(draw_frame(draw_ids(0))).save(frames / '7.png')
    assert '7.png: differs from 7.jpg in its suffix alone' in message()


def test_unknown_labels_lists_and_folders(tmp_path, convert):
    frames, out = add_frames(tmp_path / 'a'), tmp_path / 'out'
    code, output = convert('labelme', frames, out)
    assert code == 1 and 'no annotation of any of the videos a' in output
    add_labelme(frames, 0, [shape(0, 1), shape(0, 2)])
    code, output = convert('labelme', frames, out, '--labels', 'dog', 'horse')
    assert code == 1 and "0.json: shape 1 ('cat'): unknown label 'cat', expected one of dog, horse" in output
    for val, message in (
        ('b', 'val: b: expected annotated videos: a'),
        ('a', 'at least one left for training'),
    ):
        code, output = convert('labelme', frames, out, '--val', val)
        assert code == 1 and message in output
    (frames / '0.json').write_text('{')
    assert '0.json: expected a file of Labelme' in convert('labelme', frames, out)[1]
    assert 'gone: no such folder' in convert('labelme', tmp_path / 'gone', out)[1]
    (tmp_path / 'empty').mkdir()
    assert 'no pictures' in convert('labelme', tmp_path / 'empty', out)[1]
    out.mkdir()
    (out / 'mine.txt').write_text('keep')
    add_labelme(frames, 0, [shape(0, 1)])
    assert 'exists and is not empty' in convert('labelme', frames, out)[1]
    assert [path.name for path in out.iterdir()] == ['mine.txt']
    with pytest.raises(SystemExit):
        convert('coco', frames, out)


# The whole way


def test_clips_are_drawn_between_sparse_masks(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 30)
    for index in (0, 7, 22):
        add_labelme(frames, index, [shape(index, 1)])
    assert convert('labelme', frames, tmp_path / 'out')[0] == 0
    cfg = Config.fromfile(FINETUNE)
    options = {
        key: cfg.train_dataloader.dataset[key] for key in ('clip_length', 'max_skip', 'void_before_first')
    }
    dataset = DAVISDataset(tmp_path / 'out', split='train', min_object_area=16, **options)
    clips = [dataset[SampleRequest(0, seed)]['data_samples'].frame_indices for seed in range(10)]
    assert all(len(clip) == 4 and set(clip) == {0, 7, 22} for clip in clips)


def test_from_own_masks_to_a_tested_model_and_a_segmented_video(tmp_path, convert, monkeypatch):
    """The commands of docs/your_own_videos.md on a tiny model."""
    frames = add_frames(tmp_path / 'frames', 12)
    for index in (0, 3, 8):
        add_labelme(frames, index, [shape(index, 1), shape(index, 2)])
    data, work = tmp_path / 'own', tmp_path / 'work'
    assert convert('labelme', frames, data)[0] == 0
    tiny = [f'model.{part}.model_name=test_resnet' for part in ('backbone', 'value_backbone')]
    tiny += ['model.decoder.channels=(16,16,16)', 'model.key_channels=8', 'model.value_channels=16']
    cfg = Config.fromfile(FINETUNE)
    cfg.merge_from_dict(dict(option.split('=') for option in tiny[:2]))
    cfg.merge_from_dict(
        {'model.decoder.channels': (16, 16, 16), 'model.key_channels': 8, 'model.value_channels': 16}
    )
    torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'start.pth')
    monkeypatch.setenv('MMSTREMN_OWN', str(data))
    monkeypatch.setenv('MMSTREMN_CHECKPOINT', str(tmp_path / 'start.pth'))
    short = [
        'train_cfg.max_iters=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
    ]
    short += ['train_dataloader.dataset.short_side=48', 'train_dataloader.dataset.pipeline.0.size=(48,48)']
    short += ['train_dataloader.dataset.min_object_area=9', 'test_dataloader.num_workers=0']

    def run(tool, *argv):
        output = tmp_path / 'output.txt'
        assert run_tool(tool, argv, output=output) == 0, output.read_text()
        return output.read_text()

    log = run('train', FINETUNE, '--work-dir', work, '--cfg-options', *tiny, *short)
    assert str(tmp_path / 'start.pth') in log
    trained, start = (
        torch.load(work / 'iter_2.pth', weights_only=False)['state_dict'],
        torch.load(tmp_path / 'start.pth'),
    )
    moved = {key for key in start if not torch.equal(start[key], trained[key])}
    assert any(key.startswith('decoder') for key in moved) and not any('selector' in key for key in moved)
    argv = [
        FINETUNE,
        work / 'iter_2.pth',
        '--work-dir',
        work,
        '--out',
        work / 'metrics.json',
        '--show-dir',
        work / 'show',
    ]
    run('test', *argv, '--cfg-options', *tiny, *short)
    assert 0 <= json.loads((work / 'metrics.json').read_text())['DAVIS/J&F'] <= 1
    assert len(list((work / 'show/frames').glob('*.png'))) == 12
    mask = data / 'Annotations/480p/frames/00000.png'
    demo = [
        frames,
        '--mask',
        mask,
        '--config',
        FINETUNE,
        '--checkpoint',
        work / 'iter_2.pth',
        '--out',
        work / 'new',
    ]
    run('../demo/vos_demo', *demo, '--cfg-options', *tiny)
    assert len(list((work / 'new/masks').glob('*.png'))) == 12
