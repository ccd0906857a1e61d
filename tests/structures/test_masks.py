"""What arrays of masks mean: ids, one object, planes, or an error."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from mmstremn.structures import black_and_white, read_masks

SIZE = (24, 32)


def square(number=1, top=6, left=8, side=12, dtype=np.uint8):
    mask = np.zeros(SIZE, dtype)
    mask[top : top + side, left : left + side] = number
    return mask


def planes(*masks):
    """(1 + O, H, W) bool of objects that do not overlap."""
    objects = np.stack(masks).astype(bool)
    return np.concatenate([~objects.any(0, keepdims=True), objects])


def read(masks, *object_ids):
    given = read_masks(masks, SIZE, object_ids)
    assert given.ids.dtype == np.uint8
    return given


def smooth():
    return np.array(Image.fromarray(square(255)).filter(ImageFilter.GaussianBlur(1.5)))


def jpeg(quality):
    file = io.BytesIO()
    Image.fromarray(square(255)).save(file, 'JPEG', quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize('dtype', [np.uint8, np.int64, np.uint16])
def test_integers_are_ids_and_255_is_void(dtype):
    masks = square(3, dtype=dtype) + square(200, 0, 0, 5, dtype=dtype)
    masks[-1] = 255
    given = read(masks, 7)
    assert given.objects == [3, 200]
    assert (given.ids == np.where(masks == 255, 0, masks)).all()


@pytest.mark.parametrize('masks', [square(255), square(1).astype(bool), square(0.7, dtype=np.float32)])
def test_masks_of_one_object_speak_of_the_only_one(masks):
    for known, number in (((), 1), ((9,), 9)):
        given = read(masks, *known)
        assert given.objects == [number]
        assert (given.ids == square(number)).all()
    with pytest.raises(ValueError, match=r'masks.* speak of one object, but there are several \[2, 9\]'):
        read(masks, 9, 2)


@pytest.mark.parametrize('grey', [smooth(), jpeg(75), jpeg(95), jpeg(20)], ids=['smooth', '75', '95', '20'])
def test_black_and_white_pictures_are_one_object(grey):
    assert len(np.unique(grey)) > 4
    with pytest.warns(UserWarning, match='masks look like a black and white picture'):
        given = read(grey)
    assert given.objects == [1]
    assert ((given.ids > 0) & (square() > 0)).sum() / ((given.ids > 0) | (square() > 0)).sum() > 0.9


@pytest.mark.parametrize('numbers', [(1, 2, 3), (40, 80, 120), (1, 250, 254), (100, 200), (240, 250)])
def test_ids_beside_void_are_no_picture(numbers):
    masks = np.zeros(SIZE, np.uint8)
    for place, number in enumerate(numbers):
        masks[4 : 4 + 8, 10 * place : 10 * place + 6] = number
    masks[-3:] = 255
    assert black_and_white(masks) is None
    shades = pytest.warns(UserWarning, match='255 is void; where these are shades of grey')
    with shades if min(numbers) >= 32 else contextlib.nullcontext():
        assert read(masks).objects == list(numbers)


def test_thin_objects_are_no_picture():
    masks = np.zeros(SIZE, np.uint8)
    for place, number in enumerate((3, 6, 9, 12, 200)):
        masks[2 * place, :20] = number
    masks[14:, 10:] = 254
    for last in (254, 255):
        masks[masks == 254] = last
        assert black_and_white(masks) is None


def test_many_ids_are_no_picture():
    masks = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8).repeat(4, 0).repeat(4, 1) * 5
    masks[0] = 255
    assert black_and_white(masks) is None


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int32, np.float16, np.float64])
def test_planes_are_background_and_objects(dtype):
    masks = planes(square(), square(1, 0, 20, 6)).astype(dtype)
    given = read(masks)
    assert given.objects == [1, 2]
    assert (given.ids == square() + square(2, 0, 20, 6)).all()
    assert (read(masks, 9, 4).ids == square(9) + square(4, 0, 20, 6)).all()  # in the order they were given


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_the_largest_probability_wins(dtype):
    logits = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    probabilities = logits.softmax(0).to(dtype)
    assert (read(probabilities).ids == probabilities.detach().float().argmax(0).numpy()).all()


def test_a_known_object_without_pixels_is_absent():
    assert read(planes(square(), square(0)), 5, 6).objects == [5, 6]
    for nothing in (square(0).astype(bool), square(0, dtype=np.float32)):
        given = read(nothing, 5)
        assert given.objects == [5]
        assert not given.ids.any()


def test_a_new_object_needs_pixels():
    with pytest.raises(ValueError, match=r'masks have no pixel of the new objects \[2\]'):
        read(planes(square(), square(0)))


@pytest.mark.parametrize('masks', [square(0), np.full(SIZE, 255, np.uint8)], ids=['zeros', 'void'])
@pytest.mark.parametrize('known', [(), (1,), (1, 2)])
def test_masks_without_an_object_are_refused(masks, known):
    with pytest.raises(ValueError, match=r'masks hold no object \(an id in 1..254\): give None'):
        read(masks, *known)


@pytest.mark.parametrize(
    'masks, error, message',
    [
        ('mask.png', TypeError, 'masks must be integer ids, bool or probabilities in 0..1, got <U8'),
        ([[1, 2], [3]], TypeError, 'masks must be an array of numbers, got lists of different lengths'),
        (None, TypeError, 'got object'),
        (np.zeros(SIZE, 'timedelta64[s]'), TypeError, 'got timedelta64'),
        (np.zeros(SIZE, complex), TypeError, 'got complex128'),
        (square(2, dtype=np.float32), TypeError, 'masks must be integer ids, got float32 outside 0..1'),
        (square(-1, dtype=int), ValueError, r'masks hold ids outside 0..254'),
        (square(70000, dtype=int), ValueError, r'masks hold ids outside 0..254'),
        (square(np.nan, dtype=float), ValueError, 'masks hold numbers that are not finite'),
        (square()[1:], ValueError, r'masks are \(23, 32\), expected the size of the frame \(24, 32\)'),
        (np.zeros((1, 2, *SIZE), bool), ValueError, r'masks are \(1, 2, 24, 32\), expected'),
        (square()[None], ValueError, r'masks are 1 planes, expected the background and one plane for each'),
        (np.stack([square(), square()]), ValueError, 'planes .* that do not sum to 1'),
        (np.stack([1 - square(), square(2)]), ValueError, 'planes .* that do not sum to 1'),
    ],
)
def test_what_is_wrong_is_said(masks, error, message):
    with pytest.raises(error, match=message):
        read(masks)


def test_planes_must_be_those_of_the_known_objects():
    with pytest.raises(ValueError, match=r'masks are 3 planes, .* for each object \[4\]'):
        read(planes(square(), square(0)), 4)
