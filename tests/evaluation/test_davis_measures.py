"""J, F and their statistics against a brute-force oracle and against figures of the official DAVIS
evaluation."""

import math
import time
import warnings

import numpy as np
import pytest

from mmstremn.evaluation import boundary_f_measure, davis_statistics, region_similarity


def disks(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """(T, H, W) bool: unions of two seeded disks, some of them cut by the border; every fourth frame is
    empty."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((frames, height, width), dtype=bool)
    for index in range(frames):
        for _ in range(2 if index % 4 < 3 else 0):
            centre_y, centre_x = rng.integers(0, height), rng.integers(0, width)
            masks[index] |= (y - centre_y) ** 2 + (x - centre_x) ** 2 <= rng.integers(
                1, max(2, height // 3)
            ) ** 2
    return masks


def pair(seed: int, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """True masks and predictions: shifted, unrelated, both empty, and one of them empty."""
    gt, other = disks(seed, frames, height, width), disks(seed + 1, frames, height, width)
    pred = np.roll(gt, (1, 2), axis=(1, 2))
    pred[1::2] = other[1::2]
    pred[5::7] = False
    gt[6::7] = False
    return gt, pred


def oracle_j(gt, pred, void):
    pixels = [(g, p) for g, p, v in zip(gt.flat, pred.flat, void.flat, strict=True) if not v]
    union = sum(g or p for g, p in pixels)
    return sum(g and p for g, p in pixels) / union if union else 1.0


def oracle_boundary(mask):
    height, width = mask.shape
    boundary = set()
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            inside = [mask[v, u] for v, u in neighbours if v < height and u < width]
            if any(value != mask[y, x] for value in inside):
                boundary.add((y, x))
    return boundary


def oracle_f(gt, pred, void, bound_th):
    radius = (
        math.ceil(bound_th * math.sqrt(gt.shape[0] ** 2 + gt.shape[1] ** 2)) if bound_th < 1 else bound_th
    )
    gt_boundary, pred_boundary = oracle_boundary(gt & ~void), oracle_boundary(pred & ~void)
    if not gt_boundary and not pred_boundary:
        return 1.0
    if not gt_boundary or not pred_boundary:
        return 0.0

    def matched(points, others):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in points]
        return sum(near) / len(points)

    precision, recall = matched(pred_boundary, gt_boundary), matched(gt_boundary, pred_boundary)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (7, 1), (2, 2), (5, 8), (24, 31)])
@pytest.mark.parametrize('bound_th', [0.008, 0.1, 3, 0])
@pytest.mark.parametrize('with_void', [False, True])
def test_measures_equal_the_brute_force_oracle(size, bound_th, with_void):
    gt, pred = pair(3, 9, *size)
    if min(size) < 8:
        rng = np.random.default_rng(0)
        gt, pred = rng.random(gt.shape) < 0.5, rng.random(gt.shape) < 0.4
    void = np.random.default_rng(1).random(gt.shape) < 0.15 if with_void else np.zeros_like(gt)
    argument = void if with_void else None
    expected_j = [oracle_j(*masks) for masks in zip(gt, pred, void, strict=True)]
    expected_f = [oracle_f(*masks, bound_th) for masks in zip(gt, pred, void, strict=True)]
    np.testing.assert_allclose(region_similarity(gt, pred, void=argument), expected_j, atol=1e-12)
    np.testing.assert_allclose(boundary_f_measure(gt, pred, bound_th, void=argument), expected_f, atol=1e-12)


# Obtained by calling db_eval_iou, db_eval_boundary (bound_th 0.008) and db_statistics of the official code
# (davisvideochallenge/davis2017-evaluation) on `pair(0, 12, 60, 80)`: without void, and with `disks(9, 12,
# 60, 80)` as void.
OFFICIAL = {
    False: {
        'J': [0.72375691, 0.0, 0.86064319, 1.0, 0.5704698, 0.0, 0.0, 1.0, 0.69491525, 0.0, 0.86398964, 1.0],
        'F': [0.43566879, 0.03361345, 0.5, 1.0, 0.53333333, 0.0, 0.0, 1.0, 0.45169082, 0.0, 0.46721207, 1.0],
        'J statistics': [0.55948123, 0.66666667, 0.0063738],
        'F statistics': [0.4517932, 0.33333333, 0.01259484],
    },
    True: {
        'J': [0.72375691, 0.0, 0.88173773, 1.0, 0.58394161, 0.0, 0.0, 1.0, 0.69491525, 0.0, 0.87099125, 1.0],
        'F': [0.43566879, 0.0, 0.63253012, 1.0, 0.627378, 0.0, 0.0, 1.0, 0.45169082, 0.0, 0.54416961, 1.0],
        'J statistics': [0.56294523, 0.66666667, 0.00989703],
        'F statistics': [0.47428645, 0.5, 0.01808462],
    },
}


@pytest.mark.parametrize('with_void', [False, True])
def test_measures_equal_recorded_figures_of_the_official_evaluation(with_void):
    gt, pred = pair(0, 12, 60, 80)
    void = disks(9, 12, 60, 80) if with_void else None
    j, f = region_similarity(gt, pred, void=void), boundary_f_measure(gt, pred, void=void)
    expected = OFFICIAL[with_void]
    np.testing.assert_allclose(j, expected['J'], atol=1e-6)
    np.testing.assert_allclose(f, expected['F'], atol=1e-6)
    np.testing.assert_allclose(davis_statistics(j), expected['J statistics'], atol=1e-6)
    np.testing.assert_allclose(davis_statistics(f), expected['F statistics'], atol=1e-6)


def test_empty_masks():
    empty, full = np.zeros((1, 6, 8), bool), np.zeros((1, 6, 8), bool)
    full[0, 2:4, 2:5] = True
    assert region_similarity(empty, empty) == 1 and boundary_f_measure(empty, empty) == 1
    for gt, pred in ((empty, full), (full, empty)):
        assert region_similarity(gt, pred) == 0 and boundary_f_measure(gt, pred) == 0
    assert region_similarity(full, full) == 1 and boundary_f_measure(full, full) == 1


def test_a_mask_that_fills_the_image_has_no_boundary():
    full = np.ones((1, 6, 8), bool)
    assert boundary_f_measure(full, np.zeros_like(full)) == 1


def test_tolerance_is_the_rounded_up_share_of_the_diagonal():
    gt, pred = np.zeros((2, 300, 400), bool)[:, None]
    gt[0, 100:200, 100:200] = True  # the diagonal is 500: 0.008 of it are 4 pixels
    pred[0, 104:204, 100:200] = True
    assert boundary_f_measure(gt, pred)[0] == 1
    assert boundary_f_measure(gt, np.roll(pred, 1, axis=1))[0] < 1
    assert boundary_f_measure(gt, np.roll(pred, 1, axis=1), bound_th=5)[0] == 1


def test_void_pixels_do_not_count():
    gt, pred, void = np.zeros((3, 1, 10, 10), bool)
    gt[0, :, :5], pred[0, :, :6], void[0, :, 5] = True, True, True
    assert region_similarity(gt, pred)[0] < 1
    assert region_similarity(gt, pred, void=void)[0] == 1
    assert boundary_f_measure(gt, pred, bound_th=0, void=void)[0] == 1


def test_statistics_of_a_hand_computed_series():
    mean, recall, decay = davis_statistics(np.array([1.0, 0.9, 0.5, 0.6, 0.2]))
    assert (mean, recall) == pytest.approx((0.64, 0.6))
    assert decay == pytest.approx((1.0 + 0.9) / 2 - (0.6 + 0.2) / 2)


@pytest.mark.parametrize('frames', [1, 2, 3, 5, 100, 256, 257, 300, 2000])
def test_decay_uses_the_quarters_of_any_number_of_frames(frames):
    values = np.random.default_rng(frames).random(frames)
    places = [1 + quarter * (frames - 1) / 4 for quarter in range(5)]
    edges = [math.floor(place + 0.5) - 1 for place in places]  # one-based places, halves rounded up
    expected = values[: edges[1] + 1].mean() - values[edges[3] : edges[4] + 1].mean()
    assert davis_statistics(values).decay == pytest.approx(expected, abs=1e-12)


def test_statistics_of_nan_values():
    mean, recall, decay = davis_statistics(np.array([np.nan, 0.8, 0.6, 0.4, np.nan]))
    assert (mean, recall) == pytest.approx((0.6, 0.4))
    assert decay == pytest.approx(0.8 - 0.4)
    with warnings.catch_warnings(action='error'):
        assert all(math.isnan(value) for value in davis_statistics(np.full(4, np.nan))[::2])


@pytest.mark.parametrize('measure', [region_similarity, boundary_f_measure])
def test_bad_input_is_named(measure):
    masks = np.zeros((2, 4, 5), bool)
    with pytest.raises(ValueError, match=r'pred: expected the shape of gt, \(2, 4, 5\), got \(2, 5, 4\)'):
        measure(masks, np.zeros((2, 5, 4), bool))
    with pytest.raises(ValueError, match='gt: expected a bool numpy array, got uint8'):
        measure(masks.astype(np.uint8), masks)
    with pytest.raises(ValueError, match='pred: expected a bool numpy array, got list'):
        measure(masks, masks.tolist())
    with pytest.raises(ValueError, match=r'gt: expected masks of shape \(T, H, W\), got \(4, 5\)'):
        measure(masks[0], masks[0])
    with pytest.raises(ValueError, match='void: expected the shape of gt'):
        measure(masks, masks, void=masks[:1])


def test_bad_statistics_and_tolerance_are_named():
    with pytest.raises(ValueError, match=r'expected \(T,\) values'):
        davis_statistics(np.zeros(0))
    masks = np.zeros((1, 4, 5), bool)
    with pytest.raises(ValueError, match='expected bound_th >= 0, got -1'):
        boundary_f_measure(masks, masks, bound_th=-1)


@pytest.mark.slow
def test_656_full_size_frames_take_well_under_two_minutes():
    gt, pred = pair(0, 41, 480, 854)
    start = time.perf_counter()
    for _ in range(16):
        region_similarity(gt, pred)
        boundary_f_measure(gt, pred)
    assert time.perf_counter() - start < 60
