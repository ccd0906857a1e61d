"""The metric of video prediction in mmengine's test and validation loops."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from rich.console import Console
from rich.table import Table
from torch import Tensor

from mmstremn.evaluation.prediction_lpips import LPIPSDistance
from mmstremn.evaluation.prediction_measures import MEASURES, find_protocol, mean_over_frames, measure_frames
from mmstremn.registry import METRICS
from mmstremn.utils.atomic import write_json

COPY_LAST = 'copy_last'


@METRICS.register_module()
class VideoPredictionMetric(BaseMetric):
    """MSE, MAE, PSNR, SSIM and, if asked for, LPIPS, per frame of the horizon and averaged over frames and
    clips.

    Beside the model's, such as ``PSNR``, are the figures of repeating the last input frame,
    ``copy_last/PSNR``: what a model has to beat. Where data samples have ``returned_frames`` (see
    ``PredictionDataSample``), ``PSNR_returned`` is the mean PSNR of those frames of all clips: what a model
    needs a memory for. The log says by which protocol figures are computed (see
    :mod:`mmstremn.evaluation.prediction_measures`).

    Args:
        protocol: 'standard', 'openstl' or 'predrnn'.
        measures: Names out of MSE, MAE, PSNR, SSIM and LPIPS; the last needs the extra ``prediction``.
        out_file: JSON file for the protocol, the ``metrics``, ``per_frame`` (each measure's mean over the
            clips for every frame of the horizon) and the ``clips`` with their frames, or None.
        collect_device: Where the results of all ranks are collected, ``'cpu'`` or ``'gpu'``.
        prefix: Put before the names of the metrics.
        collect_dir: Shared folder to collect the results in on the CPU.

    Raises:
        ValueError: The protocol or a measure is unknown.
        ImportError: LPIPS is asked for and its package is missing.
    """

    default_prefix = 'prediction'

    def __init__(
        self,
        protocol: str = 'standard',
        measures: Sequence[str] = ('MSE', 'MAE', 'PSNR', 'SSIM'),
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.description = find_protocol(protocol).description
        unknown = [name for name in measures if name not in MEASURES]
        if unknown or not measures:
            raise ValueError(
                f'measures must be some of {", ".join(MEASURES)}, got {", ".join(measures) or "none"}'
            )
        self.protocol = protocol
        self.measures = tuple(measures)
        self.out_file = out_file
        self.lpips = LPIPSDistance() if 'LPIPS' in measures else None
        self._described = False

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measures a batch of clips: one result each.

        Args:
            data_batch: ``inputs`` holds the (T, C, H, W) uint8 frames of each clip.
            data_samples: For each clip ``clip_name``, ``input_frames``, ``pred_frames`` and ``true_frames``
                (see ``PredictionDataSample``); where the model timed itself, ``frame_seconds`` and
                ``state_bytes`` too.

        Raises:
            ValueError: A prediction is missing, is no number somewhere, or has another shape than the truth;
                the message names the clip.
        """
        for frames, sample in zip(data_batch['inputs'], data_samples, strict=True):
            self.results.append(self._measure_clip(frames, sample) | _costs(sample))

    def _measure_clip(self, frames: Tensor | np.ndarray, sample: dict) -> dict:
        name = sample['clip_name']
        missing = {'pred_frames', 'true_frames'} - set(sample)
        if missing:
            raise ValueError(
                f"clip '{name}': expected pred_frames and true_frames, {' and '.join(sorted(missing))} "
                'missing'
            )
        pred, true = _as_array(sample['pred_frames']), _as_array(sample['true_frames'])
        broken = ~np.isfinite(pred).reshape(len(pred), -1).all(axis=1)
        if broken.any():
            raise ValueError(
                f"clip '{name}': predicted frame {broken.argmax()} is not finite, expected numbers"
            )
        last = _as_array(frames)[sample['input_frames'] - 1]
        copies = np.broadcast_to(last, (len(true), *last.shape)) / np.float32(255)
        try:
            result = self._measure(pred, true), self._measure(copies, true)
        except ValueError as error:
            raise ValueError(f"clip '{name}': {error}") from error
        copy_last = {f'{COPY_LAST}/{key}': values for key, values in result[1].items()}
        measured = dict(name=name, frames=result[0] | copy_last)
        if 'returned_frames' in sample:
            measured['returned_frames'] = list(sample['returned_frames'])
        return measured

    def _measure(self, pred: np.ndarray, true: np.ndarray) -> dict[str, list[float]]:
        values = measure_frames(pred, true, self.protocol, self.measures, self.lpips)
        return {key: some.tolist() for key, some in values.items()}

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures of the results of :meth:`process`; prints the table and writes ``out_file``.

        Raises:
            ValueError: There are no results, or clips differ in how many frames were predicted.
        """
        if not results:
            raise ValueError('expected the results of at least one clip, got none')
        per_frame = frame_means(results)
        metrics = {
            key: float(mean_over_frames(key.rpartition('/')[2], values, self.protocol))
            for key, values in per_frame.items()
        }
        returned = returned_means(results)
        if not self._described:
            print_log(f"protocol '{self.protocol}': {self.description}", logger='current')
            self._described = True
        print_log(
            '\n' + horizon_table(per_frame, metrics, f'{len(results)} clips, {self.protocol}'),
            logger='current',
        )
        metrics |= returned
        if returned:
            figures = ', '.join(f'{key} {value:.5g}' for key, value in returned.items())
            print_log(f'frames that show what was hidden: {figures}', logger='current')
        if self.out_file is not None:
            per_frame = {key: values.tolist() for key, values in per_frame.items()}
            report = dict(protocol=self.protocol, metrics=metrics, per_frame=per_frame, clips=results)
            write_json(self.out_file, report)
        return metrics


def frame_means(results: Sequence[dict]) -> dict[str, np.ndarray]:
    """For each measure its mean over clips in each frame of the horizon, (T,) float64.

    Args:
        results: Those of ``VideoPredictionMetric.process``, at least one.

    Raises:
        ValueError: Clips differ in T; the message names one.
    """
    keys = list(results[0]['frames'])
    horizon = len(results[0]['frames'][keys[0]])
    for result in results:
        count = len(result['frames'][keys[0]])
        if count != horizon:
            raise ValueError(
                f"clip '{result['name']}': {count} predicted frames, expected {horizon} like clip "
                f"'{results[0]['name']}'"
            )
    return {key: np.mean([result['frames'][key] for result in results], axis=0) for key in keys}


def returned_means(results: Sequence[dict]) -> dict[str, float]:
    """``PSNR_returned``, the model's and that of copying, over the ``returned_frames`` of all clips; nothing
    where there are none or PSNR was not measured.

    Args:
        results: Those of ``VideoPredictionMetric.process``.
    """
    means = {}
    for key in ('PSNR', f'{COPY_LAST}/PSNR'):
        values = [
            result['frames'][key][place]
            for result in results
            if key in result['frames']
            for place in result.get('returned_frames', ())
        ]
        if values:
            means[f'{key}_returned'] = float(np.mean(values))
    return means


def horizon_table(per_frame: dict[str, np.ndarray], metrics: dict[str, float], title: str) -> str:
    """Each measure of each frame of the horizon, counted from 1, and of all, as a table of plain text."""
    table = Table('frame', title=title)
    for key in per_frame:
        table.add_column(key, justify='right')
    for place, row in enumerate(zip(*per_frame.values(), strict=True), start=1):
        table.add_row(str(place), *(f'{value:.5g}' for value in row))
    table.add_section()
    table.add_row('all', *(f'{value:.5g}' for value in metrics.values()))
    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _costs(sample: dict) -> dict:
    """Frames a second and the size of the memory, where a data sample tells."""
    costs = {}
    if sample.get('frame_seconds'):
        costs['fps'] = 1 / float(sample['frame_seconds'])
    if 'state_bytes' in sample:
        costs['state_bytes'] = int(sample['state_bytes'])
    return costs


def _as_array(frames: Tensor | np.ndarray) -> np.ndarray:
    """numpy of a tensor on any device, or of an array."""
    return frames.detach().cpu().numpy() if hasattr(frames, 'detach') else np.asarray(frames)
