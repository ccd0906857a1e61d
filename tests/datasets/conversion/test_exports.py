"""Exports of CVAT, MOTS, COCO and Labelme as their tools write them, and damaged ones."""

import base64
import io
import json
import random
import runpy
import unicodedata

import numpy as np
import pytest
from helpers.annotation_files import (
    add_frames,
    add_labelme,
    annotation,
    coco,
    corners,
    polygon,
    save_json,
    shape,
)
from helpers.davis_tree import SIZE, draw_ids
from helpers.runs import ROOT
from PIL import Image

from mmstremn.datasets.conversion import find_videos, read_coco, read_cvat, read_labelme, read_mots
from mmstremn.datasets.conversion.run_lengths import decode_run_lengths
from mmstremn.datasets.io.masks import read_mask

HEIGHT, WIDTH = SIZE


@pytest.fixture
def convert(tmp_path, capsys):
    """A function: convert to ``tmp_path/out``; the exit code and what was printed."""
    main = runpy.run_path(str(ROOT / 'tools/dataset_converters/to_davis.py'))['main']

    def run(form, frames, annotations=None):
        argv = [form, str(frames), str(tmp_path / 'out')]
        code = main([*argv, '--annotations', str(annotations)] if annotations else argv)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def written(tmp_path, index=0, video='a'):
    return read_mask(tmp_path / f'out/Annotations/480p/{video}/{index:05d}.png')


def objects(tmp_path, video='a'):
    return json.loads((tmp_path / 'out/ids.json').read_text())[video]


def run_lengths(mask, order='F'):
    """Alternating runs, background first."""
    flat = mask.flatten(order).astype(int)
    borders = np.flatnonzero(np.diff(np.r_[0, flat, 0]))
    return np.diff(np.r_[0, borders, len(flat)]).tolist()


def compressed(mask):
    coded = pytest.importorskip('pycocotools.mask').encode(np.asfortranarray(mask.astype(np.uint8)))
    return coded['counts'].decode()


def png_text(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, 'PNG')
    return base64.b64encode(buffer.getvalue()).decode()


# Run lengths


def test_run_lengths_of_both_forms_are_those_of_pycocotools():
    rng = np.random.default_rng(0)
    for density in (0, 0.01, 0.5, 0.99, 1):
        mask = rng.random((37, 23)) < density
        for counts in (run_lengths(mask), compressed(mask)):
            assert np.array_equal(decode_run_lengths(counts, mask.shape, 'a'), mask)
        assert np.array_equal(decode_run_lengths(run_lengths(mask, 'C'), mask.shape, 'a', 'C'), mask)


@pytest.mark.parametrize(
    'counts',
    [[-5, 17], [5], [13], [1.0, 11], [True, 11], ['x'], None, 3, '', '~~', 'ooooooooooooo', 'o', '\n'],
)
def test_wrong_run_lengths_name_their_source(counts):
    with pytest.raises(ValueError, match=r'file\.json: '):
        decode_run_lengths(counts, (3, 4), 'file.json')


# CVAT


def cvat(tracks, about='', **size):
    size = dict(height=HEIGHT, width=WIDTH) | size
    meta = ''.join(f'<{key}>{value}</{key}>' for key, value in size.items())
    task = f'<task><id>3</id><name>a.mp4</name>{about}<original_size>{meta}</original_size></task>'
    return f'<?xml version="1.0" encoding="utf-8"?><annotations><meta>{task}</meta>{tracks}</annotations>'


def track(number, label, *shapes):
    return f'<track id="{number}" label="{label}" source="manual">{"".join(shapes)}</track>'


def element(kind, frame, outside=0, z_order=0, **fields):
    fields = dict(frame=frame, keyframe=1, outside=outside, occluded=0, z_order=z_order) | fields
    text = ' '.join(f'{key}="{value}"' for key, value in fields.items())
    return f'<{kind} {text}><attribute name="age">3</attribute></{kind}>'


def cvat_polygon(frame, k, **fields):
    return element('polygon', frame, points=';'.join(f'{x},{y}' for x, y in corners(frame, k)), **fields)


def cvat_mask(frame, k, **fields):
    (left, top), _, (right, bottom), _ = corners(frame, k)
    part = draw_ids(frame, (1, 2))[top:bottom, left:right] == k
    text = ', '.join(map(str, run_lengths(part, 'C')))
    return element(
        'mask', frame, rle=text, left=left, top=top, width=right - left, height=bottom - top, **fields
    )


def cvat_box(frame, k):
    (left, top), _, (right, bottom), _ = corners(frame, k)
    return element('box', frame, xtl=left, ytl=top, xbr=right, ybr=bottom)


def test_cvat_for_video(tmp_path, convert):
    dogs = track(0, 'dog', cvat_polygon(0, 1), cvat_mask(1, 1), cvat_box(2, 1), cvat_polygon(3, 1, outside=1))
    cats = track(1, 'cat', cvat_mask(1, 2), cvat_polygon(2, 2))
    (tmp_path / 'a.xml').write_text(cvat(dogs + cats))
    code, output = convert('cvat', add_frames(tmp_path / 'a'), tmp_path / 'a.xml')
    assert code == 0 and '4 of 12 frames are annotated' in output, output
    assert objects(tmp_path) == dict(dog_0=1, cat_1=2)
    assert np.array_equal(written(tmp_path, 0), np.where(draw_ids(0, (1, 2)) == 1, 1, 0))
    for index in (1, 2):
        assert np.array_equal(written(tmp_path, index), draw_ids(index, (1, 2)))
    assert not written(tmp_path, 3).any()


def test_cvats_ellipses_turned_boxes_and_order(tmp_path, convert):
    ellipse = element('ellipse', 0, cx=30.5, cy=20.5, rx=20, ry=8)
    turned = element('box', 0, xtl=26, ytl=10, xbr=36, ybr=30, rotation=90, z_order=-1)
    whole = element('polygon', 0, points=f'-9,-9;{WIDTH + 9},-9;{WIDTH + 9},44.0;-9,44', z_order=-2)
    (tmp_path / 'a.xml').write_text(
        cvat(track(5, 'e', ellipse) + track(6, 'b', turned) + track(7, 'w', whole))
    )
    assert convert('cvat', add_frames(tmp_path / 'a', 2), tmp_path / 'a.xml')[0] == 1  # the box is covered
    (tmp_path / 'a.xml').write_text(cvat(track(5, 'e', ellipse) + track(7, 'w', whole)))
    code, output = convert('cvat', tmp_path / 'a', tmp_path / 'a.xml')
    assert code == 0, output
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside = ((columns - 30) / 20) ** 2 + ((rows - 20) / 8) ** 2 < 1
    mask = written(tmp_path)
    number = objects(tmp_path)['e_5']
    assert ((mask == number) != inside).sum() <= 0.05 * inside.sum()
    assert (mask[:44] > 0).all() and not mask[44:].any()


TASK = '<start_frame>{}</start_frame><stop_frame>{}</stop_frame><frame_filter>{}</frame_filter>'


@pytest.mark.parametrize('kind', ['task', 'job'])
@pytest.mark.parametrize(
    ('about', 'pictures', 'places'),
    [
        (TASK.format(4, 11, ''), 8, {6: 2, 11: 7}),
        (TASK.format(4, 11, ''), 12, {6: 6, 11: 11}),
        (TASK.format(2, 9, 'step=2'), 4, {2: 0, 6: 2}),
        (TASK.format(2, 9, 'step = 2'), 10, {2: 2, 6: 6}),
        (TASK.format(0, 3, ''), 9, {8: 8}),
    ],
)
def test_a_task_of_a_part_of_a_video(tmp_path, convert, kind, about, pictures, places):
    boxes = ''.join(cvat_polygon(number, 1) for number in places)
    text = cvat(track(0, 'dog', boxes), about)
    (tmp_path / 'a.xml').write_text(text.replace('<task>', f'<{kind}>').replace('</task>', f'</{kind}>'))
    code, output = convert('cvat', add_frames(tmp_path / 'a', pictures), tmp_path / 'a.xml')
    assert code == 0, output
    names = json.loads((tmp_path / 'out/frames.json').read_text())['a']
    first = min(places.values())
    assert names['00000'] == f'{first}.jpg'
    for number, place in places.items():
        assert np.array_equal(written(tmp_path, place - first) == 1, draw_ids(number, (1, 2)) == 1)


@pytest.mark.parametrize(
    ('about', 'pictures', 'message'),
    [
        (TASK.format(4, 11, ''), 9, 'frames 4..11 of its video'),
        (TASK.format(2, 9, 'step=2'), 9, 'frames 2..8 in steps of 2 of its video'),
        (TASK.format(4, 11, ''), 8, 'frame 3, expected one of 4..11'),
    ],
)
def test_pictures_that_are_not_those_of_the_task(tmp_path, convert, about, pictures, message):
    (tmp_path / 'a.xml').write_text(cvat(track(0, 'dog', cvat_box(3, 1)), about))
    code, output = convert('cvat', add_frames(tmp_path / 'a', pictures), tmp_path / 'a.xml')
    assert code == 1 and f'{tmp_path}/a.xml' in output and message in output, output


def test_entities_in_utf_16(tmp_path, convert):
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>' + cvat(track(0, '&b;', cvat_box(0, 1)))[38:]
    (tmp_path / 'a.xml').write_bytes(text.encode('utf-16'))
    code, output = convert('cvat', add_frames(tmp_path / 'a', 1), tmp_path / 'a.xml')
    assert code == 1 and 'a document type with entities' in output, output


CVAT_ERRORS = {
    'no XML': ('<annotations>', 'it is no XML'),
    'entities': ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', 'a document type with entities'),
    'another root': ('<opencv_storage/>', 'found <opencv_storage>: a file of another tool'),
    'of images': ('<annotations><image/></annotations>', 'export as CVAT for video'),
    'points': (cvat(track(0, 'dog', element('points', 0, points='1,2'))), 'track 0: a points has no area'),
    'one id twice': (cvat(2 * track(0, 'dog', cvat_box(0, 1))), 'track 0: a second track of this id'),
    'no label': (cvat('<track id="0"><box/></track>'), 'track 0: expected a label, found None'),
    'no number': (cvat(track(0, 'dog', element('box', 'x'))), 'expected an XML file of CVAT'),
    'no points': (cvat(track(0, 'dog', element('polygon', 0))), 'a field is missing'),
    'two points': (cvat(track(0, 'dog', element('polygon', 0, points='1,2;3,4'))), 'at least 3 points'),
    'a frame too many': (
        cvat(track(0, 'dog', element('box', 99, xtl=0, ytl=0, xbr=9, ybr=9))),
        'frame 99, expected',
    ),
    'huge mask': (
        cvat(track(0, 'dog', element('mask', 0, rle='1', left=0, top=0, width=10**9, height=10**9))),
        'a mask of 1000000000 x 1000000000 pixels',
    ),
    'short mask': (
        cvat(track(0, 'dog', element('mask', 0, rle='1, 2', left=0, top=0, width=9, height=9))),
        'run lengths of 3 pixels',
    ),
    'another size': (cvat(track(0, 'dog', cvat_box(0, 1)), height=9), '64 x 9 pixels, expected 64 x 48'),
}


@pytest.mark.parametrize('kind', CVAT_ERRORS)
def test_bad_cvat_files(tmp_path, convert, kind):
    text, message = CVAT_ERRORS[kind]
    (tmp_path / 'a.xml').write_text(text)
    code, output = convert('cvat', add_frames(tmp_path / 'a', 1), tmp_path / 'a.xml')
    assert code == 1 and f'{tmp_path}/a.xml' in output and message in output, output


def test_cvats_brush_masks_in_coco_are_objects(tmp_path, convert):
    crowd = dict(size=list(SIZE), counts=run_lengths(draw_ids(0, (1, 2)) == 1))
    for more in (dict(attributes=dict(occluded=False)), dict(track_id=7)):
        brush = annotation(0, 1, crowd, iscrowd=1, **more)
        path = save_json(tmp_path / 'c.json', coco([brush, annotation(0, 2)]))
        frames = tmp_path / 'a'
        if not frames.exists():
            add_frames(frames)
        code, output = convert('coco', frames, path)
        assert code == 0 and 'void' not in output, output
        assert np.array_equal(written(tmp_path), draw_ids(0, (1, 2)))
        (tmp_path / 'out').rename(tmp_path / f'out{len(more)}{more.keys()}')
    path = save_json(tmp_path / 'c.json', coco([annotation(0, 1, crowd, iscrowd=1)]))
    code, output = convert('coco', frames, path)
    assert code == 1 and 'iscrowd=1' in output


# MOTS


def test_mots_text_and_pngs_are_the_same_data(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 4, names='{:06d}.jpg')
    lines = []
    for index in range(4):
        ids = draw_ids(index, (1, 2))
        deep = np.where(ids == 1, 2001, np.where(ids == 2, 1003, 0)).astype(np.uint16)
        deep[-3:] = 10000
        (tmp_path / 'png/a').mkdir(parents=True, exist_ok=True)
        Image.fromarray(deep).save(tmp_path / f'png/a/{index:06d}.png')
        for number, kind in ((2001, 2), (1003, 1), (10000, 10)):
            lines.append(f'{index} {number} {kind} {HEIGHT} {WIDTH} {compressed(deep == number)}')
    (tmp_path / 'txt').mkdir()
    (tmp_path / 'txt/a.txt').write_text('\n'.join(lines))
    found = []
    for source in (tmp_path / 'txt/a.txt', tmp_path / 'txt', tmp_path / 'png'):
        code, output = convert('mots', frames, source)
        assert code == 0 and '4 regions are void' in output, output
        names = objects(tmp_path)
        assert names.keys() == {'pedestrian_2001', 'car_1003'}
        mask = written(tmp_path, 2)
        assert (mask[-3:] == 255).all()
        found.append([mask == names['pedestrian_2001'], mask == names['car_1003']])
        (tmp_path / 'out').rename(tmp_path / f'out{len(found)}')
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert np.array_equal(found[0], [draw_ids(2, (1, 2)) == k for k in (1, 2)])


@pytest.mark.parametrize(
    'line, message',
    [
        ('0 2001 2', 'expected lines of MOTS'),
        ('x 2001 2 48 64 0', 'expected lines of MOTS'),
        ('0 2001 2 48 -64 0', 'expected lines of MOTS'),
        ('77 2001 2 48 64 0', "no frame '77'"),
        ('0 2001 2 48 64 ~', 'no run lengths'),
        ('0 2001 2 9 9 a', '9 x 9 pixels, expected 64 x 48'),
    ],
)
def test_bad_lines_of_mots(tmp_path, convert, line, message):
    (tmp_path / 'a.txt').write_text(f'{line}\n')
    code, output = convert('mots', add_frames(tmp_path / 'a', 2), tmp_path / 'a.txt')
    assert code == 1 and f'{tmp_path}/a.txt' in output and message in output, output


@pytest.mark.parametrize('mode', ['L', 'P', 'RGB'])
def test_mots_pngs_of_8_bits_are_refused(tmp_path, convert, mode):
    (tmp_path / 'png').mkdir()
    Image.fromarray(draw_ids(0, (1,)) * 255).convert(mode).save(tmp_path / 'png/00000.png')
    code, output = convert('mots', add_frames(tmp_path / 'a', 2), tmp_path / 'png')
    assert code == 1 and '00000.png: expected a PNG of 16 bits' in output, output


# Labelme and COCO


@pytest.mark.parametrize('corner', [(-6, -6), (58, 42), (-6, 42), (58.4, -6.4)])
def test_labelmes_masks_are_cut_at_the_borders(tmp_path, convert, corner):
    x, y = map(round, corner)
    mask = dict(mask=png_text(np.full((10, 10), 255, np.uint8)), points=[corner, (x + 9, y + 9)])
    frames = add_frames(tmp_path / 'a', 1)
    add_labelme(frames, 0, [shape(0, 1, 'mask', **mask)])
    assert convert('labelme', frames)[0] == 0
    expected = np.zeros(SIZE, bool)
    expected[max(0, y) : y + 10, max(0, x) : x + 10] = True
    assert np.array_equal(written(tmp_path) > 0, expected)


@pytest.mark.parametrize('points', [[[90, 4], [99, 13]], [[4, -20], [13, -11]]])
def test_a_mask_outside_the_picture_is_named(tmp_path, convert, points):
    mask = dict(mask=png_text(np.full((10, 10), 255, np.uint8)), points=points)
    frames = add_frames(tmp_path / 'a', 1)
    path = add_labelme(frames, 0, [shape(0, 2), shape(0, 1, 'mask', **mask)])
    code, output = convert('labelme', frames)
    assert code == 1 and f"{path}: no pixel of 'dog' is to be seen" in output


def test_a_label_and_a_group_do_not_meet(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 1)
    add_labelme(frames, 0, [shape(0, 1, label='m', group_id=1), shape(0, 2, label='m_1')])
    assert convert('labelme', frames)[0] == 0
    assert objects(tmp_path) == {'m_1_1': 1, 'm_1': 2}
    assert np.array_equal(written(tmp_path), draw_ids(0, (1, 2)))
    categories = [dict(id=1, name='m'), dict(id=2, name='m_1')]
    data = coco([annotation(0, 1, track_id=1), annotation(0, 2)], categories=categories, number=1)
    (tmp_path / 'out').rename(tmp_path / 'other')
    assert convert('coco', frames, save_json(tmp_path / 'c.json', data))[0] == 0
    assert objects(tmp_path) == {'m_1_1': 1, 'm_1': 2}


def test_what_no_annotation_names_is_left_out(tmp_path, convert):
    data = coco([annotation(0, 1)], 2)
    data['categories'].append(dict(id=0, name='dog', supercategory='none'))  # as Roboflow writes them
    data['images'].append(dict(id=5, file_name='another/0.jpg', height=9, width=9))
    frames, path = add_frames(tmp_path / 'a', 2), save_json(tmp_path / 'c.json', data)
    code, output = convert('coco', frames, path)
    assert code == 0 and objects(tmp_path) == dict(dog=1), output
    (tmp_path / 'out').rename(tmp_path / 'out1')
    videos = [dict(id=k, file_names=[f'{name}/0.jpg'], height=48, width=64) for k, name in enumerate('ab')]
    tracks = [
        dict(id=1, video_id=0, category_id=1, segmentations=[polygon(0, 1)]),
        dict(id=2, video_id=0, category_id=1, segmentations=None),
    ]
    path = save_json(
        tmp_path / 'c.json', dict(videos=videos, annotations=tracks, categories=data['categories'])
    )
    code, output = convert('coco', frames, path)
    assert code == 0 and objects(tmp_path) == dict(dog_1=1), output


def test_numbers_that_a_table_has_written(tmp_path, convert):
    """3.0 for 3, as pandas writes a column with gaps."""
    frames = add_frames(tmp_path / 'a', 2)
    data = coco([annotation(0, 1, track_id=3.0), annotation(1, 1, track_id=3)], 2)
    data['images'][0]['height'] = float(HEIGHT)
    code, output = convert('coco', frames, save_json(tmp_path / 'c.json', data))
    assert code == 0 and objects(tmp_path) == dict(dog_3=1), output
    (tmp_path / 'out').rename(tmp_path / 'out1')
    add_labelme(frames, 0, [shape(0, 1, group_id=3.0)], imageHeight=float(HEIGHT))
    add_labelme(frames, 1, [shape(1, 1, group_id=3)])
    code, output = convert('labelme', frames)
    assert code == 0 and objects(tmp_path) == dict(dog_3=1), output


def test_names_in_both_forms_of_unicode(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 2, names=unicodedata.normalize('NFD', 'é{}.jpg'))
    for index, (form, label) in enumerate((('NFC', 'käfer'), ('NFD', 'käfer '))):
        label = unicodedata.normalize(form, label)
        path = add_labelme(frames, index, [shape(index, 1, label=label)])
        path.rename(frames / f'é{index}.json')
    code, output = convert('labelme', frames)
    assert code == 0 and objects(tmp_path) == {'käfer': 1}, output


def test_coco_of_another_video_is_not_drawn_onto_this_one(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 2)
    data = coco([annotation(0, 1), annotation(1, 1)], number=2)
    data['images'][1]['file_name'] = 'b/1.jpg'
    code, output = convert('coco', frames, save_json(tmp_path / 'c.json', data))
    assert code == 1 and "c.json: file_name 'b/1.jpg' is of another video" in output
    data['images'][1]['file_name'] = 'a/0.jpg'
    code, output = convert('coco', frames, save_json(tmp_path / 'c.json', data))
    assert code == 1 and 'c.json: images: ' in output and 'comes twice' in output
    data['images'][1]['file_name'] = 'deep/a/1.jpg'
    assert convert('coco', frames, save_json(tmp_path / 'c.json', data))[0] == 0


def test_polygons_of_coco_are_rasterised_as_pycocotools_does(tmp_path, convert):
    mask = pytest.importorskip('pycocotools.mask')
    points = [3.2, 4.7, 40.9, 9.1, 33.3, 41.6, 8.5, 30.2]
    data = coco([annotation(0, 1, [points])], number=1)
    assert convert('coco', add_frames(tmp_path / 'a', 1), save_json(tmp_path / 'c.json', data))[0] == 0
    expected = mask.decode(mask.frPyObjects([points], *SIZE))[..., 0]
    assert np.array_equal(written(tmp_path), expected)


@pytest.mark.parametrize('far', [1e9, 1e300, float('nan'), float('inf'), 10**400])
def test_points_far_away_are_refused(tmp_path, convert, far):
    path = save_json(tmp_path / 'c.json', coco([annotation(0, 1, [[0, 0, far, 0, far, far]])], number=1))
    code, output = convert('coco', add_frames(tmp_path / 'a', 1), path)
    assert code == 1 and f'{path}: annotation 1: ' in output


def test_files_with_a_byte_order_mark_are_read(tmp_path, convert):
    frames = add_frames(tmp_path / 'a', 1)
    path = add_labelme(frames, 0, [shape(0, 1)])
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert convert('labelme', frames)[0] == 0


# Damaged files

ODD = [None, True, -1, 0, 1.5, 10**30, float('nan'), '', 'x', [], [1], [[]], {}, {'a': 1}, [None], '\ud800']


def spots(data, path=()):
    """The keys of all values in nested lists and dicts."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from spots(value, (*path, key))


def changed(data, rng):
    """A copy of which one value is odd, or missing."""
    data = json.loads(json.dumps(data))
    *path, key = rng.choice(list(spots(data)))
    parent = data
    for step in path:
        parent = parent[step]
    if rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(ODD)
    return data


def examples():
    labelme = dict(
        imageHeight=HEIGHT, imageWidth=WIDTH, shapes=[shape(0, 1), shape(0, 2, 'circle', group_id=3)]
    )
    labelme['shapes'].append(shape(0, 2, 'mask', mask=png_text(np.full((9, 9), 255, np.uint8))))
    crowd = dict(size=list(SIZE), counts=run_lengths(draw_ids(0, (1, 2)) == 1))
    images = coco(
        [annotation(0, 1, track_id=3), annotation(1, 2, attributes=dict(track_id=1)), annotation(1, 1, crowd)]
    )
    videos = [dict(id=1, file_names=['0.jpg', '1.jpg'], height=HEIGHT, width=WIDTH)]
    tracks = [dict(id=1, video_id=1, category_id=1, segmentations=[polygon(0, 1), None])]
    vis = dict(videos=videos, annotations=tracks, categories=images['categories'])
    return dict(labelme=labelme, coco=images, vis=vis)


@pytest.mark.parametrize('form', ['labelme', 'coco', 'vis'])
def test_damaged_json_is_read_or_refused_with_its_name(tmp_path, form):
    frames, rng = add_frames(tmp_path / 'a', 12), random.Random(form)
    videos, example, refused = find_videos(frames), examples()[form], 0
    path = (tmp_path / 'json/0.json') if form == 'labelme' else tmp_path / 'c.json'
    read = read_labelme if form == 'labelme' else read_coco
    for number in range(150):
        save_json(path, changed(example, rng))
        try:
            found = read(path.parent if form == 'labelme' else path, videos)
            for frame in (frame for frames in found.values() for frame in frames.values()):
                if frame.size in (None, SIZE):
                    [region.draw(SIZE) for region in frame.regions]
        except (ValueError, FileNotFoundError) as error:
            refused += 1
            assert str(path) in str(error), (number, error)
    assert refused > 50


@pytest.mark.parametrize(
    'text', ['', '{', '[' * 100_000, '{"a":' * 100_000, 'null', '"x"', '\x00', '1e999', '{}']
)
def test_json_that_is_none(tmp_path, text):
    videos = find_videos(add_frames(tmp_path / 'a', 1))
    (tmp_path / 'json').mkdir()
    for path, read, source in (
        (tmp_path / 'json/0.json', read_labelme, tmp_path / 'json'),
        (tmp_path / 'c.json', read_coco, tmp_path / 'c.json'),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=str(path)):
            read(source, videos)


@pytest.mark.parametrize('form', ['cvat', 'mots'])
def test_damaged_text_is_read_or_refused_with_its_name(tmp_path, form):
    videos, rng = find_videos(add_frames(tmp_path / 'a', 4)), random.Random(form)
    dog = draw_ids(0, (1, 2)) == 1
    good = (
        cvat(track(0, 'dog', cvat_polygon(0, 1), cvat_mask(1, 1), cvat_box(2, 1)))
        if form == 'cvat'
        else f'0 2001 2 {HEIGHT} {WIDTH} {compressed(dog)}\n1 1001 1 {HEIGHT} {WIDTH} {compressed(dog)}\n'
    )
    path, read, refused = tmp_path / 'file', read_cvat if form == 'cvat' else read_mots, 0
    for _ in range(200):
        place = rng.randrange(len(good))
        text = (
            good[:place]
            + rng.choice(['', '9', '-', 'x', '<', '"', '\n', ' ', '\x00', '1e9', 'é'])
            + good[place + 1 :]
        )
        path.write_text(text)
        try:
            for frame in read(path, videos).get('a', {}).values():
                if frame.size in (None, SIZE):
                    [region.draw(SIZE) for region in frame.regions]
        except (ValueError, FileNotFoundError) as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 30


def test_a_conversion_that_fails_half_way_leaves_nothing(tmp_path, convert, monkeypatch):
    frames = add_frames(tmp_path / 'a', 3)
    for index in range(3):
        add_labelme(frames, index, [shape(index, 1)])
    copied = []

    def copy(source, target):
        copied.append(source)
        if len(copied) == 2:
            raise OSError('no space left on device')
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr('mmstremn.datasets.conversion.davis_writer.shutil.copyfile', copy)
    code, output = convert('labelme', frames)
    assert code == 1 and 'no space left' in output
    assert [path.name for path in tmp_path.iterdir()] == ['a']
