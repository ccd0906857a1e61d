"""Clips out of photographs: layouts, weights, pasted objects, thin plates, and files that cannot be used."""

import numpy as np
import pytest
import torch
from helpers.davis_tree import draw_frame, draw_ids
from helpers.photographs import FOLDERS, SIZE, add_pair, square
from PIL import Image
from torchvision import tv_tensors

from mmstremn.datasets import SampleRequest, StaticClipDataset, ThinPlateWarp
from mmstremn.datasets.io.masks import read_mask
from mmstremn.datasets.vos.static_clips import load_photograph, paste
from mmstremn.datasets.vos.static_layouts import find_pairs
from mmstremn.registry import DATASETS, TRANSFORMS, build
from mmstremn.utils.seeding import seeded

PIPELINE = [
    dict(type='ClipTransform', name='RandomHorizontalFlip'),
    dict(type='ClipTransform', name='ColorJitter', brightness=0.2),
    dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=20, shear=10, scale=(0.9, 1.1)),
    dict(type='ThinPlateWarp'),
]


def dataset(*roots, **kwargs):
    sources = [root if isinstance(root, dict) else dict(data_root=str(root)) for root in roots]
    kwargs = dict(pipeline=PIPELINE, min_object_area=16) | kwargs
    return DATASETS.build(dict(type='StaticClipDataset', sources=sources, **kwargs))


@pytest.mark.parametrize('mode', ['1', 'L', 'RGB'])
@pytest.mark.parametrize('layout', FOLDERS)
def test_a_pair_of_any_layout_becomes_three_views(tmp_path, layout, mode):
    add_pair(tmp_path, '1', layout=layout, mode=mode)
    item = dataset(dict(data_root=str(tmp_path), layout=layout))[SampleRequest(0, 3)]
    sample = item['data_samples']
    assert item['inputs'].shape == (3, 3, *SIZE) and item['inputs'].dtype == torch.uint8
    assert sample.masks.unique().tolist() == [0, 1] and sample.frame_indices == [0, 0, 0]
    assert not torch.equal(sample.masks[0], sample.masks[1])
    inside, outside = item['inputs'][:, 1][sample.masks == 1], item['inputs'][:, 1][sample.masks == 0]
    assert (
        inside.float().median() > 80 and (outside == 20).float().mean() < 0.9 and outside.float().min() < 30
    )


def test_steps_that_are_not_per_frame_are_the_same_for_all_views(tmp_path):
    add_pair(tmp_path, 'a')
    shared = [
        dict(type='ClipTransform', name='RandomAffine', degrees=30),
        dict(type='ClipTransform', name='ColorJitter', brightness=0.5),
    ]
    item = dataset(tmp_path, pipeline=shared, clip_length=4)[SampleRequest(0, 1)]
    assert len(item['inputs']) == 4
    assert all(torch.equal(item['inputs'][0], frame) for frame in item['inputs'])
    assert not torch.equal(item['data_samples'].masks[0], torch.from_numpy(square()))


def test_a_clip_is_a_function_of_its_request(tmp_path):
    for index in range(4):
        add_pair(tmp_path, str(index), square(10 * index), shade=100 + 20 * index)
    data = dataset(tmp_path, max_objects=3)
    first = data[SampleRequest(1, 7)]
    data[SampleRequest(2, 9)]
    again, other = data[SampleRequest(1, 7)], data[SampleRequest(1, 8)]
    assert torch.equal(first['inputs'], again['inputs'])
    assert torch.equal(first['data_samples'].masks, again['data_samples'].masks)
    assert not torch.equal(first['inputs'], other['inputs'])


def test_every_pair_is_drawn_as_often_as_its_weight_says(tmp_path):
    for folder, number in (('a', 3), ('b', 2)):
        for index in range(number):
            add_pair(tmp_path / folder, f'{folder}{index}')
    data = dataset(dict(data_root=str(tmp_path / 'a')), dict(data_root=str(tmp_path / 'b'), weight=5))
    assert len(data) == 3 + 10
    names = [data[SampleRequest(index, 0)]['data_samples'].video_name for index in range(len(data))]
    assert {name: names.count(name) for name in names} == dict(a0=1, a1=1, a2=1, b0=5, b1=5)


# Objects of other photographs


def test_up_to_max_objects_are_in_a_clip_each_number_as_often(tmp_path):
    for index in range(4):
        add_pair(tmp_path, str(index), square(8 + 4 * index, 8 * index, side=14), shade=100 + 40 * index)
    data = dataset(tmp_path, max_objects=3)
    numbers = [len(data[SampleRequest(index % 4, index)]['data_samples'].object_ids) for index in range(60)]
    assert set(numbers) == {1, 2, 3} and min(map(numbers.count, (1, 2, 3))) >= 6
    sample = data[SampleRequest(numbers.index(3) % 4, numbers.index(3))]['data_samples']
    assert sample.masks.unique().tolist() == [0, 1, 2, 3]


def as_clip(mask, shade):
    frames = np.where(mask > 0, shade, 20).astype(np.uint8)[None, None].repeat(2, 0).repeat(3, 1)
    return dict(
        frames=tv_tensors.Video(torch.from_numpy(frames)),
        masks=tv_tensors.Mask(torch.from_numpy(mask[None].repeat(2, 0))),
    )


def test_a_pasted_object_lies_over_the_others_with_its_own_pixels():
    for seed in range(20):
        with seeded(seed):
            clip = paste(as_clip(square(0, 0), 100), as_clip(square(30, 30, 20), 200))
        for frame, mask in zip(clip['frames'], clip['masks'], strict=True):
            assert set(frame[:, mask == 1].unique().tolist()) == {100}
            assert set(frame[:, mask == 0].unique().tolist()) <= {20, 100}
            assert (mask == 1).sum() >= 0.3 * 24 * 24
            assert set(frame[:, mask == 2].unique().tolist()) <= {200}
            assert (frame[0] == 200).sum() == (mask == 2).sum()


def test_an_object_that_would_hide_another_is_not_pasted():
    small, large = as_clip(square(30, 30, 4), 100), as_clip(np.ones(SIZE, np.uint8), 200)
    with seeded(0):
        results = [paste(small, large) for _ in range(20)]
    hidden = [result for result in results if not (result['masks'][0] == 1).any()]
    assert not hidden and any(result is small for result in results)


def test_pasting_needs_clips_of_one_size(tmp_path):
    add_pair(tmp_path, 'a', square(size=(64, 60)))
    add_pair(tmp_path, 'b', square(size=(50, 70)))
    data = dataset(tmp_path, max_objects=3)
    with pytest.raises(
        ValueError, match=r"'a' and 'b': sizes \(64, 60\) and \(50, 70\), expected a pipeline after which"
    ):
        [data[SampleRequest(0, seed)] for seed in range(20)]


# Thin plates


def test_thin_plate_bends_masks_with_their_frames():
    mask = draw_ids(0, (1, 2), size=(96, 96))
    mask[50:80, 50:80] = 3
    frames = torch.from_numpy(draw_frame(mask)).permute(2, 0, 1).expand(4, -1, -1, -1)
    results = dict(
        frames=tv_tensors.Video(frames), masks=tv_tensors.Mask(torch.from_numpy(mask).expand(4, -1, -1))
    )
    with seeded(1):
        bent = build(dict(type='ThinPlateWarp', scale=0.04, p=1.0), TRANSFORMS)(results)
    assert isinstance(bent['frames'], tv_tensors.Video) and isinstance(bent['masks'], tv_tensors.Mask)
    assert torch.equal(results['masks'][0], torch.from_numpy(mask))
    assert not any(torch.equal(a, b) for a, b in zip(bent['masks'][:-1], bent['masks'][1:], strict=True))
    for frame, ids in zip(bent['frames'], bent['masks'], strict=True):
        bright = (frame[0] > 160) & (frame[2] > 160)  # object 3 alone
        union, shared = (bright | (ids == 3)).sum(), (bright & (ids == 3)).sum()
        assert shared / union > 0.9
        assert 0.7 < (ids == 3).sum() / 900 < 1.4


def test_thin_plate_moves_control_points_by_its_scale_and_p_of_the_frames():
    warp = ThinPlateWarp(scale=0.05)
    with seeded(0):
        columns, rows = warp._draw_map((101, 201))
    assert columns.shape == rows.shape == (101, 201) and columns.dtype == np.float32
    with seeded(0):
        shifts = np.random.normal(0, 0.05, (16, 2))
    corners = [(0, 0, 0), (3, 0, 200), (12, 100, 0), (15, 100, 200)]
    for point, row, column in corners:
        assert rows[row, column] - row == pytest.approx(100 * shifts[point, 0], abs=0.05)
        assert columns[row, column] - column == pytest.approx(200 * shifts[point, 1], abs=0.05)
    still = ThinPlateWarp(scale=0.0, p=1.0)._draw_map((40, 60))
    assert np.allclose(still[0], np.arange(60)[None], atol=1e-3) and np.allclose(
        still[1], np.arange(40)[:, None], atol=1e-3
    )
    frames = tv_tensors.Video(torch.randint(0, 255, (300, 3, 8, 8), dtype=torch.uint8))
    masks = tv_tensors.Mask(torch.zeros(300, 8, 8, dtype=torch.uint8))
    with seeded(0):
        bent = ThinPlateWarp(scale=0.1)(dict(frames=frames, masks=masks))
    changed = (bent['frames'] != frames).flatten(1).any(1).float().mean()
    assert 0.25 < changed < 0.41
    with pytest.raises(ValueError, match='points must be at least 2'):
        ThinPlateWarp(points=1)


# What cannot be used


def spoil(kind, image, mask):
    """Damage a pair; the file that the message must name."""
    if kind == 'truncated image':
        image.write_bytes(image.read_bytes()[:-200])
        return image
    if kind == 'text':
        image.write_text('not a picture')
        return image
    if kind == 'empty file':
        mask.write_bytes(b'')
        return mask
    if kind == 'another size':
        Image.fromarray(square(size=(64, 60))).save(mask)
    if kind == 'no object':
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(mask)
    if kind == 'colours':
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)).save(mask)
    return mask


KINDS = {
    'truncated image': 'expected a whole picture',
    'text': 'expected a whole picture',
    'empty file': 'expected a whole picture',
    'another size': '60 x 64 pixels, expected 64 x 64 like',
    'no object': 'shows no object',
    'colours': 'colours, expected one for each object',
}


@pytest.mark.parametrize('kind', KINDS)
def test_an_unusable_pair_stops_or_is_skipped_and_counted(tmp_path, kind):
    for name in 'abc':
        add_pair(tmp_path, name, shade=200 if name == 'c' else 100)
    path = spoil(kind, *add_pair(tmp_path, 'b'))
    with pytest.raises(ValueError, match=f'{path.name}.*{KINDS[kind]}'):
        dataset(tmp_path)[SampleRequest(1, 0)]
    data = dataset(tmp_path, on_corrupt='skip')
    names = [data[SampleRequest(index, 0)]['data_samples'].video_name for index in range(len(data))]
    assert set(names) == {'a', 'c'}
    assert len(data.skipped) == 1 and str(path) in data.skipped[0]


def test_skipped_pairs_are_logged_once(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(
        'mmstremn.datasets.vos.static_clips.print_log', lambda message, **kwargs: messages.append(message)
    )
    for index in range(20):
        add_pair(tmp_path, f'{index:02d}')
    for index in (3, 8):
        spoil('truncated image', *add_pair(tmp_path, f'{index:02d}'))
    spoil('no object', *add_pair(tmp_path, '11'))
    data = dataset(tmp_path, on_corrupt='skip')
    assert len(data) == 18
    for _ in range(2):
        for index in range(len(data)):
            data[SampleRequest(index, 0)]
    first, second = messages
    assert '2 of 20 pairs are skipped' in first and '03.jpg' in first and '08.jpg' in first
    assert '11.png' in second and 'it is the 3. one' in second


def test_an_object_that_no_clip_shows_is_skipped_too(tmp_path):
    add_pair(tmp_path, 'a', square(side=3))
    add_pair(tmp_path, 'b')
    with pytest.raises(
        ValueError, match="video 'a': 30 clips drawn and transformed, none shows an object of 16 pixels"
    ):
        dataset(tmp_path)[0]
    data = dataset(tmp_path, on_corrupt='skip')
    assert {data[SampleRequest(0, seed)]['data_samples'].video_name for seed in range(3)} == {'b'}
    assert len(data.skipped) == 1 and "video 'a'" in data.skipped[0]


def test_nothing_usable_is_an_error(tmp_path):
    spoil('no object', *add_pair(tmp_path / 'a', 'a'))
    with pytest.raises(ValueError, match=r'20 pairs in a row cannot be used; the last: .*a.png'):
        dataset(tmp_path / 'a', on_corrupt='skip')[0]
    spoil('text', *add_pair(tmp_path / 'a', 'a'))
    with pytest.raises(ValueError, match=r'none of 1 pairs can be used; the last: .*a.jpg'):
        dataset(tmp_path / 'a', on_corrupt='skip')


@pytest.mark.parametrize('on_corrupt', ['raise', 'skip'])
@pytest.mark.parametrize('layout', ['plain', 'list', 'fss1000'])
def test_a_missing_mask_is_always_an_error(tmp_path, layout, on_corrupt):
    add_pair(tmp_path, 'a', layout=layout)
    image, mask = add_pair(tmp_path, 'b', layout=layout)
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=f'b.png: no such file, expected the mask of {image}'):
        dataset(dict(data_root=str(tmp_path), layout=layout), on_corrupt=on_corrupt)


def test_a_missing_image_folder_or_root_is_named(tmp_path):
    image, mask = add_pair(tmp_path, 'a')
    image.unlink()
    with pytest.raises(FileNotFoundError, match=f'a.jpg: no such file, expected the image of {mask}'):
        dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'DUTS-TR-Image and .*DUTS-TR-Mask'):
        find_pairs(tmp_path, 'duts')
    with pytest.raises(FileNotFoundError, match=r'list.txt: no such file'):
        find_pairs(tmp_path, 'list')
    with pytest.raises(FileNotFoundError, match='gone: no such folder'):
        find_pairs(tmp_path / 'gone', 'ecssd')
    with pytest.raises(ValueError, match='no images'):
        (tmp_path / 'empty').mkdir()
        find_pairs(tmp_path / 'empty', 'fss1000')


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="layout 'voc': expected one of plain, ecssd"):
        find_pairs(tmp_path, 'voc')
    with pytest.raises(ValueError, match="on_corrupt: expected 'raise' or 'skip', got 'ignore'"):
        dataset(tmp_path, on_corrupt='ignore')
    with pytest.raises(TypeError, match=r'StaticClipDataset\.sources\.wieght: .* Did you mean weight\?'):
        dataset(dict(data_root='.', wieght=2))
    with pytest.raises(ValueError, match='sources: expected at least one'):
        StaticClipDataset([])


def test_grey_masks_saved_in_colour_are_read(tmp_path):
    pair = find_pairs_of(tmp_path)
    assert np.array_equal(load_photograph(pair).mask(0), square())
    assert np.array_equal(read_mask(pair.mask), square())


def find_pairs_of(root):
    add_pair(root, 'a', mode='RGBA')
    return find_pairs(root, 'plain')[0]


def test_real_photographs(real_data):
    source = dict(data_root=str(real_data / 'train/static'), layout='list')
    crop = dict(type='ClipTransform', name='RandomResizedCrop', size=(64, 64), scale=(0.5, 1.0))
    data = dataset(source, pipeline=[crop, *PIPELINE], max_objects=3)
    assert len(data) == 3099 and not data.skipped
    assert [data[SampleRequest(300 * index, 0)]['inputs'].shape for index in range(10)] == [
        (3, 3, 64, 64)
    ] * 10
