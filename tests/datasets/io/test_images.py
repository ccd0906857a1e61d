"""Pictures are read as a viewer shows them: upright, in full depth, whatever their channels."""

import io
import struct
import zlib

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_ids, save_ids
from PIL import Image

from mmstremn.datasets import DAVISDataset, StaticImageDataset, open_video
from mmstremn.datasets.io.images import read_header, read_rgb
from mmstremn.datasets.io.masks import read_mask, read_mask_header
from mmstremn.datasets.prediction.sources import picture_folder

PICTURE = np.zeros((16, 24, 3), np.uint8)
PICTURE[:8, :8], PICTURE[:8, 8:], PICTURE[8:, :16], PICTURE[8:, 16:] = 250, (200, 30, 30), (20, 180, 40), 60

# What is stored for a viewer to show PICTURE, by EXIF orientation
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


def save_turned(picture, path, orientation, **kwargs):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation](picture))).save(path, exif=exif, **kwargs)
    return path


@pytest.mark.parametrize('orientation', list(STORED))
@pytest.mark.parametrize(('suffix', 'options'), [
    ('jpg', dict(quality=100, subsampling=0)), ('png', {}), ('webp', dict(lossless=True)), ('tif', {}),
    ('tif', dict(compression='tiff_lzw')),
])  # fmt: skip
def test_all_orientations_in_every_reader(tmp_path, orientation, suffix, options):
    (tmp_path / 'a').mkdir()
    path = save_turned(PICTURE, tmp_path / f'a/0.{suffix}', orientation, **options)
    video, clip = open_video(tmp_path / 'a'), picture_folder(tmp_path / 'a', 'a')
    assert read_header(path).size == video.size == (16, 24)
    for shown in (read_rgb(path), video.frame(0), next(clip.read([0]))):
        assert np.abs(shown.astype(int) - PICTURE).max() <= 4, orientation


@pytest.mark.parametrize('orientation', list(STORED))
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_grey_tiff_that_is_not_compressed(tmp_path, orientation, dtype):
    """PIL maps such files into memory."""
    grey = PICTURE[..., 0].astype(dtype) * (257 if dtype == np.uint16 else 1)
    path = save_turned(grey, tmp_path / 'a.tif', orientation)
    assert read_header(path).size == (16, 24)
    assert np.array_equal(read_rgb(path)[..., 0], PICTURE[..., 0])
    path = save_turned((grey > grey.mean()).astype(dtype), tmp_path / 'm.tif', orientation)
    assert np.array_equal(read_mask(path), PICTURE[..., 0] > PICTURE[..., 0].mean())


def test_exif_behind_the_pixels_of_a_png(tmp_path):
    path = save_turned(PICTURE, tmp_path / 'a.png', 6)
    data = path.read_bytes()
    begin, end = data.index(b'eXIf') - 4, data.rindex(b'IEND') - 4
    length = 12 + int.from_bytes(data[begin : begin + 4], 'big')
    late = data[:begin] + data[begin + length : end] + data[begin : begin + length] + data[end:]
    path.write_bytes(late)
    assert read_header(path).size == (16, 24) and np.array_equal(read_rgb(path), PICTURE)


@pytest.mark.parametrize('suffix', ['tif', 'png', 'webp'])
def test_files_of_several_pictures_are_no_frames(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    pictures = [Image.fromarray(PICTURE // k) for k in (1, 2, 3)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    for read in (read_rgb, read_header, read_mask, lambda path: open_video(path.parent)):
        with pytest.raises(ValueError, match=rf'a.{suffix}: holds 3 pictures, expected one'):
            read(path)


@pytest.mark.parametrize('orientation', list(STORED))
def test_masks_are_those_of_what_is_shown(tmp_path, orientation):
    ids = draw_ids(0, (1, 2))
    frame_dir, mask_dir = add_sequence(tmp_path, 'a', [ids])
    save_turned(np.repeat(ids[..., None] * 90, 3, 2), frame_dir / '00000.jpg', orientation, quality=100)
    video = DAVISDataset(tmp_path, split='val', test_mode=True)[0]['inputs']
    assert video.size == ids.shape and np.array_equal(video.mask(0), ids)
    assert ((video.frame(0)[..., 0] > 45) == (ids > 0)).mean() > 0.98
    turned = save_turned(ids, mask_dir / 'turned.png', orientation)
    assert np.array_equal(read_mask(turned), ids) and read_mask_header(turned) == ids.shape


def test_a_mask_of_the_stored_size_is_refused_with_the_reason(tmp_path):
    ids = draw_ids(0)
    frame_dir, mask_dir = add_sequence(tmp_path, 'a', [ids])
    save_turned(np.repeat(ids[..., None] * 90, 3, 2), frame_dir / '00000.jpg', 6)
    save_ids(mask_dir / '00000.png', np.ascontiguousarray(np.rot90(ids)))
    with pytest.raises(
        ValueError, match=r'00000\.png: 48 x 64 pixels, expected 64 x 48 pixels, turned by its EXIF'
    ):
        DAVISDataset(tmp_path, split='val')


def test_static_images_are_upright(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    save_turned(PICTURE, tmp_path / 'images/a.jpg', 8, quality=100, subsampling=0)
    save_ids(tmp_path / 'masks/a.png', (PICTURE[..., 0] == 250).astype(np.uint8))
    (tmp_path / 'list.txt').write_text('a\n')
    video = StaticImageDataset(tmp_path, test_mode=True)[0]['inputs']
    assert (video.frame(0)[video.mask(0) == 1] > 240).all()


def test_a_broken_exif_is_no_orientation(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / 'a.jpg', exif=b'Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03')
    assert read_rgb(tmp_path / 'a.jpg').shape == PICTURE.shape


# Depth and channels

GREY = np.linspace(0, 255, 16 * 24).round().astype(np.uint8).reshape(16, 24)


def check_grey(path, tolerance=0):
    frame = read_rgb(path)
    assert frame.dtype == np.uint8 and frame.shape == (16, 24, 3)
    assert np.abs(frame.astype(int) - GREY[..., None]).max() <= tolerance
    assert read_header(path).channels == 1


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bits_are_scaled(tmp_path, suffix):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / f'a.{suffix}')
    check_grey(tmp_path / f'a.{suffix}')
    Image.fromarray(GREY.astype(np.uint16) * 256).save(tmp_path / f'b.{suffix}')
    check_grey(tmp_path / f'b.{suffix}', tolerance=1)


def test_big_endian_tiff(tmp_path):
    values = (GREY.astype('>u2') * 257).tobytes()
    short = 1 << 16  # 1 as two bytes, left in the field of four
    tags = [(256, 4, 1, 24), (257, 4, 1, 16), (258, 3, 1, 16 * short), (259, 3, 1, short), (262, 3, 1, short)]
    tags += [(273, 4, 1, 122), (277, 3, 1, short), (278, 4, 1, 16), (279, 4, 1, len(values))]
    entries = b''.join(struct.pack('>HHII', *tag) for tag in tags)
    header = b'MM\0*' + struct.pack('>IH', 8, len(tags)) + entries + bytes(4)
    (tmp_path / 'a.tif').write_bytes(header.ljust(122, b'\0') + values)
    check_grey(tmp_path / 'a.tif')


def test_floats_of_0_to_1_are_scaled_and_others_refused(tmp_path):
    Image.fromarray(GREY.astype(np.float32) / 255).save(tmp_path / 'a.tif')
    check_grey(tmp_path / 'a.tif')
    for name, values in dict(b=GREY.astype(np.float32), c=np.full((4, 4), np.nan, np.float32)).items():
        Image.fromarray(values).save(tmp_path / f'{name}.tif')
        with pytest.raises(ValueError, match=rf'{name}\.tif: floats in .*expected 0\.\.1'):
            read_rgb(tmp_path / f'{name}.tif')
    Image.fromarray(GREY.astype(np.int32) * 70000).save(tmp_path / 'd.tif')
    with pytest.raises(ValueError, match=r'd\.tif: integers of 32 bits'):
        read_rgb(tmp_path / 'd.tif')


def test_twelve_bits_in_sixteen_are_said_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmstremn.datasets.io.images.print_log', lambda text, **_: said.append(text))
    for name, scale in (('black', 0), ('a', 16), ('b', 16), ('c', 257)):
        Image.fromarray(PICTURE[..., 0].astype(np.uint16) * scale).save(tmp_path / f'{name}.png')
        read_rgb(tmp_path / f'{name}.png')
    assert len(said) == 1 and 'a.png: 16 bits, but no value above' in said[0]


def test_channels(tmp_path):
    alpha = Image.fromarray(np.tile(np.arange(24, dtype=np.uint8) * 10, (16, 1)))
    grey, colour = Image.fromarray(GREY), Image.fromarray(PICTURE)
    Image.merge('LA', [grey, alpha]).save(tmp_path / 'la.png')
    check_grey(tmp_path / 'la.png')
    grey.save(tmp_path / 'l.bmp')
    check_grey(tmp_path / 'l.bmp')
    colour.putalpha(alpha)
    colour.save(tmp_path / 'rgba.png')
    palette = Image.fromarray(PICTURE).quantize(8)
    palette.save(tmp_path / 'p.png')
    palette.save(tmp_path / 'pa.png', transparency=1)
    for name in ('rgba.png', 'p.png', 'pa.png'):
        assert np.array_equal(read_rgb(tmp_path / name), PICTURE), name
    Image.fromarray(GREY > 99).save(tmp_path / 'bits.png')
    assert np.array_equal(read_rgb(tmp_path / 'bits.png')[..., 1], np.where(GREY > 99, 255, 0))
    for suffix in ('jpg', 'tif'):
        Image.fromarray(PICTURE).convert('CMYK').save(tmp_path / f'cmyk.{suffix}', quality=100)
        assert np.abs(read_rgb(tmp_path / f'cmyk.{suffix}').astype(int) - PICTURE).max() <= 12


def test_a_grey_mask_with_alpha_among_those_of_davis_2016(tmp_path):
    ids = [draw_ids(i, (255,)) for i in range(3)]
    _, mask_dir = add_sequence(tmp_path, 'bear', ids)
    grey = Image.fromarray(ids[1])
    Image.merge('LA', [grey, Image.new('L', grey.size, 255)]).save(mask_dir / '00001.png')
    (tmp_path / 'ImageSets/2016').mkdir(parents=True)
    (tmp_path / 'ImageSets/2016/val.txt').write_text('bear\n')
    video = DAVISDataset(tmp_path, year=2016, split='val', test_mode=True)[0]['inputs']
    assert all(np.array_equal(video.mask(i), ids[i] // 255) for i in range(3))


# Bombs


def png_bomb(size=30_000):
    """A whole PNG of a few bytes a row that decodes to ``size`` x ``size``."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    data = b''.join(packer.compress(bytes((size + 8) // 8)) for _ in range(size)) + packer.flush()
    header = struct.pack('>IIBBBBB', size, size, 1, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def jpeg_bomb(size=30_000):
    """The bytes of a small JPEG whose header tells of ``size`` x ``size``."""
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, 'JPEG')
    data = bytearray(buffer.getvalue())
    place = data.find(b'\xff\xc0') + 5
    data[place : place + 4] = struct.pack('>HH', size, size)
    return bytes(data)


@pytest.mark.parametrize(('name', 'bomb'), [('a.png', png_bomb), ('a.jpg', jpeg_bomb)])
def test_decompression_bombs_are_named_and_not_decoded(tmp_path, name, bomb):
    (tmp_path / name).write_bytes(bomb())
    for read in (read_rgb, read_header, read_mask, read_mask_header, lambda path: open_video(path.parent)):
        with pytest.raises(ValueError, match=rf'{name}: .*pixels'):
            read(tmp_path / name)
