"""What mask files mean: ids, one object, colours, or an error that names the file."""

import random
import struct
import zlib

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_ids
from PIL import Image, ImageFilter

from mmstremn.datasets import DAVISDataset, open_video
from mmstremn.datasets.io import masks as masks_of_files
from mmstremn.datasets.io.masks import MaskFiles, read_mask, read_mask_header
from mmstremn.utils.palette import DAVIS_PALETTE

SIZE = (40, 56)
RED, GREEN, BLUE, WHITE = (250, 50, 83), (51, 221, 255), (10, 20, 250), (255, 255, 255)


def squares(*numbers, shift=0, dtype=np.uint8):
    """(H, W): a 14 x 14 square of each number, side by side."""
    mask = np.zeros(SIZE, dtype)
    for place, number in enumerate(numbers):
        mask[8:22, 3 + 17 * place + shift : 17 + 17 * place + shift] = number
    return mask


def painted(ids, *colours):
    """(H, W, 3) uint8: the colour of each id 1, 2, ...; black elsewhere."""
    return np.array([(0, 0, 0), *colours], np.uint8)[ids]


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def with_palette(path, ids, palette=DAVIS_PALETTE, **options):
    image = Image.fromarray(ids)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    image.save(path, **options)
    return path


def smooth(mask, radius=1.5):
    return np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius)))


def overlap(a, b):
    return ((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum()


# Ids


@pytest.mark.parametrize('ids', [squares(1, 2), squares(3), squares(7, 255), squares(255), squares(1, 254)])
def test_palette_pngs_hold_ids_and_void(tmp_path, ids):
    read = read_mask(with_palette(tmp_path / 'a.png', ids))
    assert read.dtype == np.uint8 and np.array_equal(read, ids)


@pytest.mark.parametrize('numbers', [(1, 2), (40, 80), (1, 2, 255), (200,), (1, 250, 254)])
def test_grey_pngs_hold_ids_and_void(tmp_path, numbers):
    ids = squares(*numbers)
    assert np.array_equal(read_mask(save(tmp_path / 'a.png', ids)), ids)


def test_grey_ids_that_are_void_alone_in_one_frame(tmp_path):
    files = [save(tmp_path / '0.png', squares(1, 2)), save(tmp_path / '1.png', squares(255))]
    assert np.array_equal(MaskFiles(files).read(files[1]), squares(255))


@pytest.mark.parametrize('dtype', [np.uint16, np.int32])
def test_more_than_8_bits(tmp_path, dtype):
    suffix = 'png' if dtype == np.uint16 else 'tif'
    for numbers, expected in (((1, 2), (1, 2)), ((1001, 5), (2, 1)), ((2001, 1002, 10000), (2, 1, 3))):
        path = save(tmp_path / f'a.{suffix}', squares(*numbers, dtype=dtype))
        assert np.array_equal(read_mask(path), squares(*expected))


def test_16_bit_numbers_are_the_same_objects_in_all_frames(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(masks_of_files, 'print_log', lambda line, **_: said.append(line))
    files = []
    for i, numbers in enumerate([(300,), (200, 300), (200,)]):
        files.append(save(tmp_path / f'{i}.png', squares(*numbers, dtype=np.uint16)))
    masks = MaskFiles(files)
    read = [masks.read(path) for path in files]
    assert np.array_equal(read[0], squares(2)) and np.array_equal(read[2], squares(1))
    assert np.array_equal(read[1], squares(1, 2))
    assert len(said) == 1
    assert said[0].endswith('0.png: numbers (some above 255) are read as ids: 200 is 1, 300 is 2')


def test_void_of_16_bits(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(masks_of_files, 'print_log', lambda line, **_: said.append(line))
    files = []
    for i, numbers in enumerate([(300, 65535), (1, 300)]):
        files.append(save(tmp_path / f'{i}.png', squares(*numbers, dtype=np.uint16)))
    masks = MaskFiles(files)
    assert np.array_equal(masks.read(files[0]), squares(2, 255))
    assert np.array_equal(masks.read(files[1]), squares(1, 2))
    path = save(tmp_path / 'small.png', squares(1, 2, 65535, dtype=np.uint16))
    assert np.array_equal(read_mask(path), squares(1, 2, 255))
    assert len(said) == 1 and said[0].endswith('1 is 1, 300 is 2')


@pytest.mark.parametrize('bits', [2, 4])
def test_grey_pngs_of_few_bits(tmp_path, bits):
    def few_bits(name, ids):
        packed = np.packbits(
            np.unpackbits(ids[..., None], axis=-1)[..., -bits:].reshape(len(ids), -1), axis=1
        )
        rows = b''.join(b'\0' + row.tobytes() for row in packed)
        head = struct.pack('>IIBBBBB', *SIZE[::-1], bits, 0, 0, 0, 0)
        chunks = [(b'IHDR', head), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')]
        data = [struct.pack('>I', len(d)) + n + d + struct.pack('>I', zlib.crc32(n + d)) for n, d in chunks]
        (tmp_path / name).write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(data))
        return tmp_path / name

    largest = 2**bits - 1
    for numbers in ((1, 2), (1, 2, largest), (2,)):
        assert np.array_equal(read_mask(few_bits('ids.png', squares(*numbers))), squares(*numbers))
    assert np.array_equal(read_mask(few_bits('white.png', squares(largest))), squares(1))


def test_16_bit_levels_that_are_widened_8_bit_ones(tmp_path):
    assert np.array_equal(read_mask(save(tmp_path / 'a.png', squares(65535, dtype=np.uint16))), squares(1))
    path = save(tmp_path / 'b.png', squares(3 * 257, 4 * 257, dtype=np.uint16))
    assert np.array_equal(read_mask(path), squares(3, 4))


# One object


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'RGB', 'RGBA', 'P'])
def test_black_and_white_is_one_object_in_every_mode(tmp_path, mode):
    path = save(tmp_path / 'a.png', squares(255), mode)
    assert np.array_equal(read_mask(path), squares(1))
    assert read_mask_header(path) == SIZE


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
def test_smooth_edges_are_thresholded(tmp_path, mode):
    read = read_mask(save(tmp_path / 'a.png', smooth(squares(255)), mode))
    assert set(np.unique(read)) == {0, 1} and overlap(read, squares(1)) > 0.9


def test_webp_with_and_without_loss(tmp_path):
    assert overlap(read_mask(save(tmp_path / 'a.webp', squares(255), quality=60)), squares(1)) > 0.9
    path = save(tmp_path / 'b.webp', painted(squares(1, 2), GREEN, RED), lossless=True)
    assert np.array_equal(read_mask(path), squares(1, 2))


def test_a_mask_that_needs_more_memory_than_there_is(tmp_path, monkeypatch):
    def exhausted(image, path):
        raise MemoryError('Unable to allocate 5 GiB')

    monkeypatch.setattr(masks_of_files, '_stored', exhausted)
    with pytest.raises(ValueError, match=r'a\.png: .*Unable to allocate'):
        read_mask(save(tmp_path / 'a.png', squares(1)))


@pytest.mark.parametrize('mode', ['L', 'RGB'])
@pytest.mark.parametrize('quality', [30, 75, 95])
def test_jpeg_of_black_and_white(tmp_path, mode, quality):
    path = save(tmp_path / 'a.jpg', squares(255), mode, quality=quality)
    assert len(np.unique(np.array(Image.open(path)))) > 2
    read = read_mask(path)
    assert set(np.unique(read)) == {0, 1} and overlap(read, squares(1)) > 0.9


def test_what_is_read_as_one_object_is_said_once(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(masks_of_files, 'print_log', lambda line, **_: lines.append(line))
    for name in ('0', '1'):
        read_mask(save(tmp_path / f'v/{name}.png', squares(255)))
        read_mask(with_palette(tmp_path / f'v/p{name}.png', squares(1)))
    assert len(lines) == 1
    assert '0.png: black and white, read as one object (id 1): all from 128 up' in lines[0]


def test_all_frames_of_a_black_and_white_video_are_read_alike(tmp_path):
    arrays = [squares(0), smooth(squares(255)), squares(255), squares(255, shift=3)]
    masks = MaskFiles([save(tmp_path / f'v/{i}.png', array) for i, array in enumerate(arrays)])
    read = [masks.read(path) for path in masks.paths]
    assert not read[0].any() and np.array_equal(read[3], squares(1, shift=3))
    assert set(np.unique(read[1])) == {0, 1}


@pytest.mark.parametrize('alpha', [np.array, smooth])
def test_an_object_drawn_on_nothing(tmp_path, alpha):
    for colour in ((0, 0, 0), RED):
        rgba = np.dstack([np.full((*SIZE, 3), colour, np.uint8), alpha(squares(255))])
        read = read_mask(save(tmp_path / 'a.png', rgba))
        assert set(np.unique(read)) == {0, 1} and overlap(read, squares(1)) > 0.9


@pytest.mark.parametrize('alpha', [40, 100, 128, 255])
def test_half_transparent_overlays(tmp_path, alpha):
    ids = squares(1, 2)
    rgba = np.dstack([painted(ids, RED, GREEN), np.where(ids > 0, alpha, 0).astype(np.uint8)])
    read = read_mask(save(tmp_path / 'a.png', rgba))
    assert np.array_equal(read > 0, ids > 0) and len(np.unique(read)) == 3
    assert not read_mask(save(tmp_path / 'b.png', np.zeros((*SIZE, 4), np.uint8))).any()


def test_one_object_of_a_collection(tmp_path):
    for name, array, mode in (
        ('ids', squares(1, 2), 'L'),
        ('white', squares(255, 255), 'LA'),
        ('colours', painted(squares(1, 2), RED, BLUE), None),
        ('deep', squares(65535, 65535, dtype=np.uint16), None),
    ):
        assert np.array_equal(read_mask(save(tmp_path / f'{name}.png', array, mode), True), squares(1, 1))
    assert np.array_equal(read_mask(with_palette(tmp_path / 'p.png', squares(1, 255)), True), squares(1))


# Colours


@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_a_colour_is_the_same_object_in_every_frame(tmp_path, mode):
    frames = [
        painted(squares(0, 1), RED),
        painted(squares(1, 2), GREEN, RED),
        painted(squares(0)),
        painted(squares(0, 0, 1), WHITE),
    ]
    masks = MaskFiles([save(tmp_path / f'{i}.png', frame, mode) for i, frame in enumerate(frames)])
    read = [masks.read(path) for path in reversed(masks.paths)][::-1]
    expected = [squares(0, 1), squares(2, 1), squares(0), squares(0, 0, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(read, expected, strict=True))


def test_the_ids_of_colours_are_said_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(masks_of_files, 'print_log', lambda line, **_: said.append(line))
    picture = painted(squares(1, 2), (255, 0, 0), (0, 255, 0))
    files = MaskFiles([save(tmp_path / f'v/{name}.png', picture) for name in '01'])
    for path in files.paths:
        assert np.array_equal(files.read(path), squares(2, 1))
    assert len(said) == 1 and said[0].endswith('.png: colours are read as ids: #00ff00 is 1, #ff0000 is 2')


def test_colours_of_the_davis_palette_are_its_ids(tmp_path):
    ids = squares(2, 5, 255)
    assert np.array_equal(read_mask(save(tmp_path / 'a.png', DAVIS_PALETTE[ids])), ids)


def test_colours_of_cvats_label_map(tmp_path):
    (tmp_path / 'labelmap.txt').write_text(
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:10,20,250::\ndog:250,50,83::\n'
    )
    path = save(tmp_path / 'SegmentationClass/a.png', painted(squares(1), RED))
    masks = MaskFiles([path])
    assert np.array_equal(masks.read(path), squares(2)) and masks.labels == {1: 'cat', 2: 'dog'}
    (tmp_path / 'labelmap.txt').write_text('dog:red\n')
    with pytest.raises(ValueError, match=r'labelmap.txt: line 1: expected label:R,G,B::'):
        read_mask(path)


def test_shades_of_grey_of_a_label_map(tmp_path):
    (tmp_path / 'labelmap.txt').write_text('cat:200,200,200::\ndog:255,255,255::\nbackground:0,0,0::\n')
    path = save(tmp_path / 'a.png', painted(squares(1, 2), (200, 200, 200), (255, 255, 255)))
    masks = MaskFiles([path])
    assert np.array_equal(masks.read(path), squares(1, 2)) and masks.labels == {1: 'cat', 2: 'dog'}


def test_254_labels_and_the_background_behind_them(tmp_path):
    lines = [f'{k}:1,{k // 250},{k % 250}::' for k in range(254)]
    (tmp_path / 'labelmap.txt').write_text('\n'.join([*lines, 'background:0,0,0::']))
    path = save(tmp_path / 'a.png', painted(squares(1, 2), (1, 1, 3), (1, 0, 0)))
    assert np.array_equal(read_mask(path), squares(254, 1))


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (['dog:250,50'], 'line 2: expected label:R,G,B::'),
        (['dog:300,50,83::'], 'line 2: expected label:R,G,B::'),
        (['dog:-1,50,83::'], 'line 2: expected label:R,G,B::'),
        (['dog:250,50,83::', 'cat:250,50,83::'], 'line 3: expected a colour of its own for each label'),
        ([f'{k}:1,{k // 250},{k % 250}::' for k in range(255)], 'line 256: expected at most 254 labels'),
    ],
)
def test_label_maps_that_are_wrong(tmp_path, lines, message):
    (tmp_path / 'labelmap.txt').write_text('\n'.join(['background:0,0,0::', *lines]))
    with pytest.raises(ValueError, match=rf'labelmap\.txt: {message}'):
        read_mask(save(tmp_path / 'a.png', painted(squares(1), RED)))


def test_palettes_in_another_order_in_every_file(tmp_path):
    files = [
        with_palette(tmp_path / '0.png', squares(1, 2), [(0, 0, 0), RED, GREEN]),
        with_palette(tmp_path / '1.png', squares(2, 1), [(0, 0, 0), GREEN, RED]),
        with_palette(tmp_path / '2.png', squares(1), [(0, 0, 0), GREEN]),
    ]
    masks = MaskFiles(files)
    read = [masks.read(path) for path in files]
    assert np.array_equal(read[0], read[1]) and set(np.unique(read[0])) == {0, 1, 2}
    assert np.array_equal(read[2], squares(read[0][10, 25]))


def test_a_quantised_file_may_have_black_anywhere(tmp_path):
    files = [
        with_palette(tmp_path / '0.png', 1 - np.minimum(squares(1), 1), [RED, (0, 0, 0)]),
        with_palette(tmp_path / '1.png', squares(1, 2), [(0, 0, 0), GREEN, RED]),
    ]
    masks = MaskFiles(files)
    assert np.array_equal(masks.read(files[0]), squares(1))
    assert np.array_equal(masks.read(files[1]), squares(2, 1))


@pytest.mark.parametrize('transparency', [2, b'\xff\xff\x00'])
def test_a_transparent_index_is_the_background(tmp_path, transparency):
    ids = squares(1, 2)
    indices = np.array([2, 0, 1], np.uint8)[ids]
    path = with_palette(tmp_path / 'a.png', indices, [RED, GREEN, WHITE], transparency=transparency)
    read = read_mask(path)
    assert np.array_equal(read > 0, ids > 0) and len(set(read[ids == 1])) == len(set(read[ids == 2])) == 1
    path = with_palette(tmp_path / 'b.png', ids, [WHITE, RED, GREEN], transparency=b'\x00\x80\x80')
    assert np.array_equal(read_mask(path), ids)
    path = with_palette(tmp_path / 'c.png', ids, [WHITE, (0, 0, 0), GREEN], transparency=0)
    assert np.array_equal(read_mask(path), ids)
    void = with_palette(tmp_path / 'd.png', squares(1, 255), transparency=255)
    assert np.array_equal(read_mask(void), squares(1, 255))


def test_palettes_that_differ_in_colours_alone_hold_ids(tmp_path):
    other = DAVIS_PALETTE[::-1].copy()
    other[0] = 0
    files = [
        with_palette(tmp_path / '0.png', squares(1, 2)),
        with_palette(tmp_path / '1.png', squares(2, 1), other),
    ]
    masks = MaskFiles(files)
    assert np.array_equal(masks.read(files[1]), squares(2, 1))


# Refused


def test_what_cannot_be_told_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    for name, array, mode, message in (
        ('shades.png', squares(100, 255), None, r'grey levels \[0, 100, 255\]: 255 is void'),
        ('soft.png', smooth(squares(100, 200)), None, 'grey levels, most of them along edges'),
        ('faint.png', smooth(squares(180)), None, 'grey levels, most of them along edges'),
        ('below.tif', squares(1).astype(np.int32) - 1, None, 'ids below 0, expected 0 where'),
        ('ids.webp', squares(1, 2), None, 'JPEG changes the ids'),
        ('ids.jpg', squares(1, 2), None, 'JPEG changes the ids, save the masks as PNG'),
        ('colours.jpg', painted(squares(1), RED), None, 'JPEG mixes colours, save the masks as PNG'),
        ('soft_colours.png', smooth(painted(squares(1), RED)), None, 'colours, expected one for each object'),
        ('photo.png', rng.integers(0, 255, (*SIZE, 3), np.uint8), None, 'colours, expected one for each'),
        ('white.png', 255 - painted(squares(1), RED), None, 'without black, expected black where'),
        ('inks.tif', squares(1), 'CMYK', 'wrong palette/mode: expected .* found mode CMYK'),
    ):
        path = save(tmp_path / name, array, mode)
        with pytest.raises(ValueError, match=f'{path}.*{message}'):
            read_mask(path)


def test_palettes_of_smooth_pictures_are_refused(tmp_path):
    """What PNG-8 and GIF make of smooth edges in colour; small objects of the palette of DAVIS are none."""
    soft = Image.fromarray(smooth(painted(squares(1), RED))).quantize(32)
    for name in ('soft.png', 'soft.gif'):
        soft.save(tmp_path / name)
        with pytest.raises(ValueError, match=f'{name}: \\d+ colours'):
            read_mask(tmp_path / name)
    dots = np.zeros(SIZE, np.uint8)
    dots[::4, ::4] = np.arange(1, 141).reshape(10, 14)
    assert np.array_equal(read_mask(with_palette(tmp_path / 'dots.png', dots)), dots)


def test_a_mask_that_claims_too_many_pixels(tmp_path):
    path = tmp_path / 'bomb.png'
    Image.new('1', (30000, 30000)).save(path)
    for read in (read_mask, read_mask_header):
        with pytest.raises(ValueError, match=r'bomb.png: .*cannot decode it .*exceeds limit'):
            read(path)


def test_damaged_files_are_read_or_refused_with_their_names(tmp_path):
    rng, refused = random.Random(0), 0
    for suffix, mode in (('png', 'P'), ('png', 'RGBA'), ('bmp', 'L'), ('tif', 'L'), ('gif', 'P')):
        path = save(tmp_path / f'a.{suffix}', squares(1, 2), mode)
        good = path.read_bytes()
        for _ in range(80):
            data = bytearray(good)
            data[rng.randrange(min(len(data), 80))] = rng.randrange(256)
            path.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
            try:
                read_mask(path)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error)
    assert refused > 100


# The entry points


def test_davis_data_of_other_masks(tmp_path):
    _, mask_dir = add_sequence(tmp_path, 'seq', [draw_ids(i, (1, 2)) for i in range(3)])
    for i in range(3):
        save(mask_dir / f'{i:05d}.png', painted(draw_ids(i, (1, 2)), GREEN, RED))
    dataset = DAVISDataset(tmp_path, split='val', test_mode=True)
    video = dataset[0]['inputs']
    assert video.object_ids == [1, 2] and np.array_equal(video.mask(2), draw_ids(2, (1, 2)))
    for i in range(3):
        save(mask_dir / f'{i:05d}.png', draw_ids(i) * 255, 'LA')
    video = DAVISDataset(tmp_path, split='val', test_mode=True)[0]['inputs']
    assert video.object_ids == [1] and np.array_equal(video.mask(1), draw_ids(1))
    path = save(tmp_path / 'first.jpg', draw_ids(0) * 255)
    assert overlap(open_video(tmp_path / 'JPEGImages/480p/seq', path).mask(0), draw_ids(0)) > 0.9
