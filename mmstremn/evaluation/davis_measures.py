"""The DAVIS measures: region similarity J, boundary measure F, and their mean, recall and decay over a video.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation" (CVPR
2016) and Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation" (2017), with the
constants and edge cases of the official evaluation.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

PIXEL_AND_NEXT = np.ones((2, 2), np.uint8)


class Statistics(NamedTuple):
    """Mean, recall (share of frames above 0.5) and decay (first quarter minus last quarter) of one object's
    frames."""

    mean: float
    recall: float
    decay: float


def region_similarity(gt: np.ndarray, pred: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """J, the intersection over union of every pair of masks; 1 where both are empty.

    Args:
        gt: (T, H, W) bool, the true masks. The masks along T are independent of each other.
        pred: (T, H, W) bool, the predicted masks.
        void: (T, H, W) bool, pixels that do not count, or None.

    Returns:
        (T,) float64 in [0, 1].

    Raises:
        ValueError: An array is not bool, or its shape is not (T, H, W) or not that of ``gt``.
    """
    _check_masks(gt, pred, void)
    intersection, union = gt & pred, gt | pred
    if void is not None:
        intersection, union = intersection & ~void, union & ~void
    intersections = np.count_nonzero(intersection, axis=(1, 2))
    unions = np.count_nonzero(union, axis=(1, 2))
    return np.where(unions == 0, 1.0, intersections / np.maximum(unions, 1))


def boundary_f_measure(
    gt: np.ndarray, pred: np.ndarray, bound_th: float = 0.008, void: np.ndarray | None = None
) -> np.ndarray:
    """F, the harmonic mean of the precision and the recall of the predicted boundary pixels.

    A boundary pixel matches when the other mask has a boundary pixel within the tolerance radius. A mask
    without boundary has nothing to miss: the measure is then 1 where neither mask has one, 0 where only one
    of them has.

    Args:
        gt: (T, H, W) bool, the true masks. The masks along T are independent of each other.
        pred: (T, H, W) bool, the predicted masks.
        bound_th: Below 1 a share of the image diagonal, rounded up to whole pixels; from 1 on a radius in
            pixels.
        void: (T, H, W) bool, pixels taken as background in both masks, or None.

    Returns:
        (T,) float64 in [0, 1].

    Raises:
        ValueError: An array is not bool, its shape is not (T, H, W) or not that of ``gt``, or ``bound_th`` is
            below 0.
    """
    _check_masks(gt, pred, void)
    if bound_th < 0:
        raise ValueError(f'expected bound_th >= 0, got {bound_th}')
    if void is not None:
        gt, pred = gt & ~void, pred & ~void
    radius = bound_th if bound_th >= 1 else math.ceil(bound_th * math.hypot(*gt.shape[1:]))
    scores = [_frame_f(*pair, radius) for pair in zip(gt.view(np.uint8), pred.view(np.uint8), strict=True)]
    return np.array(scores, dtype=np.float64)


def davis_statistics(values: np.ndarray) -> Statistics:
    """Mean, recall and decay of the per-frame values of one object.

    The values are cut into four quarters that share their border frames; decay is the mean of the first one
    minus the mean of the last one, for any number of frames. NaN values count in no mean and as a failure in
    the recall.

    Args:
        values: (T,) float, J or F of the scored frames in order.

    Returns:
        The statistics; NaN where all values are.

    Raises:
        ValueError: ``values`` is not (T,) with T >= 1.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f'expected (T,) values of T >= 1 frames, got shape {values.shape}')
    last = values.size - 1
    first_quarter = values[: (last + 2) // 4 + 1]
    last_quarter = values[(3 * last + 2) // 4 :]
    decay = _nanmean(first_quarter) - _nanmean(last_quarter)
    return Statistics(_nanmean(values), float(np.mean(values > 0.5)), decay)


def _nanmean(values: np.ndarray):
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan


def _frame_f(gt: np.ndarray, pred: np.ndarray, radius: float):
    """F of one pair of (H, W) uint8 masks, computed on the box that holds both of them."""
    box = _bounding_box(gt | pred)
    gt_boundary, pred_boundary = _boundary(gt[box]), _boundary(pred[box])
    gt_count, pred_count = np.count_nonzero(gt_boundary), np.count_nonzero(pred_boundary)
    if gt_count == 0 or pred_count == 0:
        return float(gt_count == pred_count)
    precision = np.count_nonzero(pred_boundary & _dilate(gt_boundary, radius)) / pred_count
    recall = np.count_nonzero(gt_boundary & _dilate(pred_boundary, radius)) / gt_count
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _bounding_box(mask: np.ndarray):
    """Slices of the set pixels of a (H, W) mask with a margin of one pixel, where the image has one."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def _boundary(mask: np.ndarray):
    """Boundary of a (H, W) uint8 mask: pixels that differ from their right, lower or lower right
    neighbour."""
    return cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, PIXEL_AND_NEXT, anchor=(0, 0))


def _dilate(boundary: np.ndarray, radius: float):
    return cv2.dilate(boundary, _disk(radius))


@lru_cache(maxsize=64)
def _disk(radius: float):
    offsets = np.arange(-math.floor(radius), math.floor(radius) + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)


def _check_masks(gt: np.ndarray, pred: np.ndarray, void: np.ndarray | None):
    for name, mask in (('gt', gt), ('pred', pred), ('void', void)):
        if mask is None and name == 'void':
            continue
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise ValueError(
                f'{name}: expected a bool numpy array, got {getattr(mask, "dtype", type(mask).__name__)}'
            )
        if mask.ndim != 3 or 0 in mask.shape[1:]:
            raise ValueError(f'{name}: expected masks of shape (T, H, W), got {mask.shape}')
        if mask.shape != gt.shape:
            raise ValueError(f'{name}: expected the shape of gt, {gt.shape}, got {mask.shape}')
