"""What is written of a video's masks, read back by the tools that read it."""

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.vos_cases import SquaresVideo
from PIL import Image

from mmstremn.apis import OUTPUTS, FrameResult, OutputInfo, write_outputs
from mmstremn.apis.outputs import FILES, Review
from mmstremn.datasets import open_video
from mmstremn.datasets.conversion import find_videos, read_coco, read_labelme
from mmstremn.datasets.conversion.annotation import polygon_region
from mmstremn.datasets.conversion.labelme_writer import polygons
from mmstremn.datasets.io.masks import read_mask

T = 5
VIDEO = SquaresVideo(T, size=(41, 57), appear=(0, 2))
LABELS = {3: 'dog'}
RATE = Fraction(30000, 1001)


def results():
    for t in range(T):
        ids = VIDEO.mask(t)
        ids[6:8, 8:11] = 0  # a hole
        ids[30:33, 50:] = 3  # a second part
        sure = {3: 1 - 0.1 * t} | ({6: 0.5} if t >= 2 else {})
        yield FrameResult('squares', t, VIDEO.frame(t), ids, sure, np.array([0, t, -1]))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('out')
    info = OutputInfo('squares', [f'p{t}' for t in range(T)], RATE, LABELS)
    write_outputs(results(), folder, info, OUTPUTS)
    return folder


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    """The frames as annotation tools know them."""
    folder = tmp_path_factory.mktemp('data') / 'squares'
    folder.mkdir()
    for t in range(T):
        Image.fromarray(VIDEO.frame(t)).save(folder / f'p{t}.jpg')
    return find_videos(folder)


def drawn(frame, size, ids):
    """The ids (H, W) of an annotated frame, by the id of each (label, group)."""
    found = np.zeros(size, np.uint8)
    for region in frame.regions:
        found[region.draw(size)] = ids[region.label, region.group]
    return found


def test_every_output_is_there(folder):
    assert set(FILES) == set(OUTPUTS)
    assert {path.name for path in folder.iterdir()} == set(FILES.values())


def test_masks_are_the_ids(folder):
    for result in results():
        assert np.array_equal(read_mask(folder / f'masks/p{result.index}.png'), result.ids)


def test_the_overlay_plays_everywhere(folder):
    data = (folder / 'overlay.mp4').read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')
    with av.open(str(folder / 'overlay.mp4')) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt, stream.average_rate) == ('h264', 'yuv420p', RATE)
        assert (stream.height, stream.width) == (42, 58)
        assert sum(1 for _ in container.decode(video=0)) == T


def test_cutouts_are_transparent_where_the_object_is_not(folder):
    for result in results():
        picture = np.asarray(Image.open(folder / f'cutouts/3/p{result.index}.png'))
        assert np.array_equal(picture[..., 3] == 255, result.ids == 3)
        assert np.array_equal(picture[..., :3][result.ids == 3], result.frame[result.ids == 3])
    assert len(list((folder / 'cutouts/6').iterdir())) == T - 2
    with av.open(str(folder / 'cutout.webm')) as container:
        stream = container.streams.video[0]
        assert stream.metadata['alpha_mode'] == '1'
        decoder = av.CodecContext.create('libvpx-vp9', 'r')  # FFmpeg's own decoder leaves alpha out
        packets = [packet for packet in container.demux(stream) if packet.size]
        decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    alpha = decoded[-1].to_ndarray(format='rgba')[:41, :57, 3] > 127
    true = list(results())[-1].ids > 0
    assert (alpha & true).sum() / (alpha | true).sum() > 0.9


@pytest.mark.parametrize('name', ['coco.json', 'youtube_vis.json'])
def test_run_lengths_come_back(folder, frames, name):
    annotated = read_coco(folder / name, frames)['squares']
    groups = {('dog', '3'): 3, ('object', '6'): 6}
    assert set(annotated) == set(range(T))
    for result in results():
        assert np.array_equal(drawn(annotated[result.index], result.ids.shape, groups), result.ids)


def test_coco_is_what_pycocotools_reads(folder, capsys):
    from pycocotools.coco import COCO

    read = COCO(folder / 'coco.json')
    assert len(read.getImgIds()) == T and [c['name'] for c in read.dataset['categories']] == ['object', 'dog']
    for annotation in read.loadAnns(read.getAnnIds()):
        mask = read.annToMask(annotation)
        x, y, width, height = annotation['bbox']
        assert mask.sum() == annotation['area'] == mask[y : y + height, x : x + width].sum()
    track = json.loads((folder / 'youtube_vis.json').read_text())['annotations'][1]
    assert track['segmentations'][:2] == [None, None] and track['bboxes'][2] is not None


def test_labelme_comes_back_to_the_pixel(folder):
    annotated = read_labelme(folder / 'labelme', find_videos(folder / 'labelme'))['labelme']
    groups = {('dog', '3'): 3, ('object', '6'): 6}
    for result in results():
        assert np.array_equal(drawn(annotated[result.index], result.ids.shape, groups), result.ids)
    content = json.loads((folder / 'labelme/p0.json').read_text())
    assert Path(folder / 'labelme' / content['imagePath']).is_file()
    assert {*content} == {'version', 'flags', 'shapes', 'imagePath', 'imageData', 'imageHeight', 'imageWidth'}


def test_polygons_of_any_mask_come_back():
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(size=(14, 18)).repeat(3, 0).repeat(3, 1)
        mask = noise > 0.2
        back = np.zeros_like(mask)
        for points in polygons(mask):
            back |= polygon_region(points, mask.shape)
        assert np.array_equal(back, mask)


def test_the_table_has_areas_boxes_and_confidence(folder):
    rows = list(csv.DictReader((folder / 'objects.csv').open()))
    assert len(rows) == T + 3
    row, ids = rows[-1], list(results())[-1].ids
    assert (row['frame'], row['object'], row['label'], row['confidence']) == ('4', '6', '', '0.5')
    assert int(row['area']) == (ids == 6).sum()
    assert float(row['seconds']) == round(4 * 1001 / 30000, 3)


def test_the_table_has_the_times_of_a_variable_rate(tmp_path):
    info = OutputInfo('squares', [f'p{t}' for t in range(T)], RATE, seconds=[0.0, 0.04, 0.08, 5.0, 5.04])
    write_outputs(results(), tmp_path, info, ['csv'])
    with open(tmp_path / 'objects.csv', encoding='utf-8') as file:
        times = {int(row['frame']): float(row['seconds']) for row in csv.DictReader(file)}
    assert times == dict(enumerate(info.seconds))


def test_the_frames_to_look_at_first_are_apart(folder):
    rows = list(csv.DictReader((folder / 'review.csv').open()))
    assert [(row['frame'], row['object'], row['confidence']) for row in rows] == [('2', '6', '0.5')]
    watch = Review()
    for t in range(3000):
        watch.add(FrameResult('v', t, None, None, {1: 0.3 if t in (700, 701, 2500) else 0.9}))
    assert [frame for _, frame, _ in watch.frames(2)] == [700, 2500]
    assert len(watch._worst) < 500


def test_where_a_frame_fails_nothing_appears(tmp_path):
    def broken():
        yield from list(results())[:2]
        raise ValueError('frame 2 is damaged')

    with pytest.raises(ValueError, match='frame 2 is damaged'):
        write_outputs(broken(), tmp_path, OutputInfo('squares', [f'p{t}' for t in range(T)]), OUTPUTS)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="output 'mask': expected one of masks, overlay"):
        write_outputs(results(), tmp_path, OutputInfo('squares', 'abcde'), ['mask'])


def test_results_take_no_place_of_something_else(tmp_path):
    shown = tmp_path / 'frames/masks'
    shown.mkdir(parents=True)
    for t in range(T):
        Image.fromarray(VIDEO.frame(t)).save(shown / f'{t}.png')
    info, before = OutputInfo.of(open_video(shown)), (shown / '0.png').read_bytes()
    with pytest.raises(ValueError, match='masks holds frames or masks of the video'):
        write_outputs(results(), shown.parent, info, ['masks'])
    assert (shown / '0.png').read_bytes() == before
    (tmp_path / 'masks').write_text('a file')
    (tmp_path / 'coco.json').mkdir()
    for name, message in (('masks', 'masks is no folder'), ('coco', 'coco.json is a folder')):
        with pytest.raises(ValueError, match=message):
            write_outputs(iter([None]), tmp_path, info, [name])
