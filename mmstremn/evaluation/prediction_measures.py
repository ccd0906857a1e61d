"""Measures of predicted frames, by the three protocols whose figures are in use.

They differ in more than a factor; figures of different protocols must not be compared.

``standard``: predictions are clipped to 0..1; MSE and MAE are means over pixels and channels; SSIM is that of
Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004): a
Gaussian window of 1.5 pixels, values of 0..1.

``openstl``: what chengtan9907/OpenSTL openstl/core/metrics.py computes. MSE and MAE are sums over pixels and
channels of predictions that are not clipped. PSNR, SSIM and LPIPS clip. SSIM is scikit-image's default, a
flat window of 7 pixels, with values taken to be of -1..1 (what scikit-image did with floats up to 0.20):
higher than with the range they have.

``predrnn``: what thuml/predrnn-pytorch core/trainer.py computes. Predictions are clipped; MSE is a sum over
pixels, channels and the frames of the horizon. PSNR and SSIM are of frames of 8 bits, predictions rounded
down; SSIM has a flat window of 7 pixels. LPIPS gets values of 0..1 where its network expects -1..1. It has no
MAE: ours is made like its MSE.

In all of them PSNR has a peak of 1 (255 at 8 bits) and is computed frame by frame. That of a perfect frame is
infinite; it is given as :data:`MAX_PSNR` here, so that means stay finite.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from skimage.metrics import structural_similarity

MAX_PSNR = 100.0
"""In decibels: an error of 1e-10 or less."""
MEASURES = ('MSE', 'MAE', 'PSNR', 'SSIM', 'LPIPS')
LOWER_IS_BETTER = ('MSE', 'MAE', 'LPIPS')
FLAT = dict(win_size=7)
GAUSSIAN = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
MIN_SIDE = 11
"""Of a frame in pixels, for SSIM: the largest window."""


class Protocol(NamedTuple):
    """How figures are computed.

    Attributes:
        description: In words.
        clip_errors: MSE and MAE are of clipped predictions.
        sum_pixels: MSE and MAE are sums over C, H, W instead of means.
        sum_frames: MSE and MAE of a clip are sums over its frames instead of means.
        eight_bits: PSNR and SSIM are of 0..255, predictions rounded down.
        ssim: Arguments of scikit-image's function, but for the range.
        ssim_range: The range it assumes, of values 0..1 or of 8 bits.
        lpips_range: The values that LPIPS gets.
    """

    description: str
    clip_errors: bool
    sum_pixels: bool
    sum_frames: bool
    eight_bits: bool
    ssim: dict
    ssim_range: float
    lpips_range: tuple[float, float]


PROTOCOLS = {
    'standard': Protocol(
        'predictions clipped to 0..1; MSE and MAE are means over pixels; SSIM with a Gaussian window, range '
        '1',
        clip_errors=True,
        sum_pixels=False,
        sum_frames=False,
        eight_bits=False,
        ssim=GAUSSIAN,
        ssim_range=1,
        lpips_range=(-1, 1),
    ),
    'openstl': Protocol(
        "OpenSTL's: MSE and MAE not clipped, summed over the pixels of a frame; SSIM with a flat window, "
        'range 2',
        clip_errors=False,
        sum_pixels=True,
        sum_frames=False,
        eight_bits=False,
        ssim=FLAT,
        ssim_range=2,
        lpips_range=(-1, 1),
    ),
    'predrnn': Protocol(
        "PredRNN's: MSE and MAE clipped, summed over the pixels of all frames; PSNR and SSIM of 8 bits, "
        'flat window',
        clip_errors=True,
        sum_pixels=True,
        sum_frames=True,
        eight_bits=True,
        ssim=FLAT,
        ssim_range=255,
        lpips_range=(0, 1),
    ),
}


def find_protocol(name: str) -> Protocol:
    """The protocol of this name. Raises a ValueError that lists all."""
    if name not in PROTOCOLS:
        raise ValueError(f"protocol '{name}' is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def measure_frames(
    pred: np.ndarray,
    true: np.ndarray,
    protocol: str = 'standard',
    measures: Sequence[str] = ('MSE', 'MAE', 'PSNR', 'SSIM'),
    lpips: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Each measure of each frame.

    Args:
        pred: (T, C, H, W) floats, predicted frames of 0..1, not clipped.
        true: (T, C, H, W) uint8, the true frames.
        protocol: A name of :data:`PROTOCOLS`.
        measures: Names of :data:`MEASURES`.
        lpips: The distances (T,) of pairs of frames, (T, C, H, W) float32 of the protocol's range; for LPIPS
            alone.

    Returns:
        (T,) float64 for each measure.

    Raises:
        ValueError: A protocol or a measure is unknown, or shapes or types are others.
    """
    rules = find_protocol(protocol)
    _check_frames(pred, true, MIN_SIDE if 'SSIM' in measures else 1)
    functions = dict(MSE=_mse, MAE=_mae, PSNR=_psnr, SSIM=_ssim, LPIPS=partial(_lpips, lpips=lpips))
    unknown = set(measures) - set(functions)
    if unknown:
        raise ValueError(f'measures {", ".join(sorted(unknown))} are none of {", ".join(MEASURES)}')
    pred = pred.astype(np.float64)
    return {name: functions[name](pred, true, rules) for name in measures}


def mean_over_frames(name: str, values: np.ndarray, protocol: str) -> np.ndarray:
    """A measure of whole clips from those of their frames, (..., T): the mean, or the sum where the protocol
    has that."""
    summed = find_protocol(protocol).sum_frames and name in ('MSE', 'MAE')
    return values.sum(axis=-1) if summed else values.mean(axis=-1)


def _mse(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    return _pool(_errors(pred, true, rules) ** 2, rules)


def _mae(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    return _pool(np.abs(_errors(pred, true, rules)), rules)


def _errors(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    return (pred.clip(0, 1) if rules.clip_errors else pred) - true / 255


def _pool(errors: np.ndarray, rules: Protocol):
    return errors.sum(axis=(1, 2, 3)) if rules.sum_pixels else errors.mean(axis=(1, 2, 3))


def _psnr(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    pred, true = _pictures(pred, true, rules)
    peak = 255 if rules.eight_bits else 1
    error = ((pred - true) ** 2).mean(axis=(1, 2, 3)) / peak**2
    return -10 * np.log10(np.maximum(error, 10 ** (-MAX_PSNR / 10)))


def _ssim(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    settings = dict(channel_axis=0, data_range=rules.ssim_range, **rules.ssim)
    pairs = zip(*_pictures(pred, true, rules), strict=True)
    return np.array([structural_similarity(*pair, **settings) for pair in pairs])


def _lpips(
    pred: np.ndarray,
    true: np.ndarray,
    rules: Protocol,
    lpips: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
):
    if lpips is None:
        raise ValueError('LPIPS: expected the function that computes it')
    low, high = rules.lpips_range
    pair = [(low + (high - low) * frames).astype(np.float32) for frames in (pred.clip(0, 1), true / 255)]
    return np.asarray(lpips(*pair), dtype=np.float64)


def _pictures(pred: np.ndarray, true: np.ndarray, rules: Protocol):
    """Clipped predictions and true frames in float64, as 0..1 or as the whole numbers of 8 bits.

    These are rounded down in float32, in which k / 255 * 255 is k for all k.
    """
    pred = pred.clip(0, 1)
    if rules.eight_bits:
        return np.floor(pred.astype(np.float32) * np.float32(255)).astype(np.float64), true.astype(np.float64)
    return pred, true / 255


def _check_frames(pred: np.ndarray, true: np.ndarray, min_side: int):
    if true.dtype != np.uint8 or pred.dtype.kind != 'f':
        raise ValueError(
            f'expected float predictions and uint8 true frames, got {pred.dtype} and {true.dtype}'
        )
    if pred.ndim != 4 or pred.shape != true.shape:
        raise ValueError(
            f'expected predicted and true frames of one shape (T, C, H, W), got {pred.shape} and {true.shape}'
        )
    if min(pred.shape[2:]) < min_side:
        raise ValueError(
            f'frames of {pred.shape[2]} x {pred.shape[3]} pixels, expected {min_side} or more for SSIM'
        )
