"""How well and how steadily the pixels of videos are classified."""

from collections import Counter
from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmstremn.registry import METRICS


class Steadiness:
    """For how many frames up to now each pixel has not changed, which is all that windows of any length ask.

    Args:
        windows: Lengths in frames.
        ignore_index: Of pixels without a label.

    Attributes:
        shares: For each length the summed shares of windows: of pixels whose prediction stays the same, and
            of pixels whose prediction is right all the time, among those whose true class stays the same.
        counts: For each length the number of windows with such pixels.
    """

    def __init__(self, windows: Sequence[int], ignore_index: int):
        self.windows, self.ignore_index = windows, ignore_index
        self.shares = {n: [0.0, 0.0] for n in windows}
        self.counts = dict.fromkeys(windows, 0)
        self.last = self.ages = None

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """The next frame, both (H, W)."""
        known = truth != self.ignore_index
        now = (truth, prediction)
        if self.last is None:
            same, ages = (known, torch.ones_like(known)), (0, 0, 0)
        else:
            same, ages = [new == old for new, old in zip(now, self.last, strict=True)], self.ages
        truth_age = torch.where(same[0], ages[0], 0) + 1
        prediction_age = torch.where(same[1], ages[1], 0) + 1
        right_age = torch.where(prediction == truth, ages[2] + 1, 0)
        self.last, self.ages = now, (truth_age * known, prediction_age, right_age)
        for n in self.windows:
            steady = self.ages[0] >= n
            total = int(steady.sum())
            if total:
                self.counts[n] += 1
                for place, age in enumerate((prediction_age, right_age)):
                    self.shares[n][place] += int((steady & (age >= n)).sum()) / total


@METRICS.register_module()
class VideoSegMetric(BaseMetric):
    """mIoU as mmsegmentation's ``IoUMetric`` has it, and video consistency VC8 and VC16 (VSPW; Miao et al.,
    CVPR 2021).

    VC_n: in every n consecutive frames, the share of the pixels whose true class stays the same that have one
    and the same predicted class; the mean over all such windows of all videos. So does the data set's own
    script (``VC_perclip.py`` of VSPW-dataset/VSPW_code), by which published figures are made: it does not ask
    whether that class is the true one. ``VC_n_right`` does: it wants the true class in all n frames. The
    script differs in two details: it counts void pixels and leaves out each video's last window.

    Frames come video by video and in order (``VideoSampler``); each video gives one result.

    Args:
        windows: n.
        ignore_index: Of pixels without a label.
        collect_device: As in mmengine.
        prefix: As in mmengine.
    """

    def __init__(
        self,
        windows: Sequence[int] = (8, 16),
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.windows, self.ignore_index = tuple(windows), ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Add frames.

        Raises:
            ValueError: A frame does not belong to a video, or does not follow the one before it.
        """
        for sample in data_samples:
            result = self._result_of(sample)
            prediction, truth = (sample[key]['data'].squeeze(0) for key in ('pred_sem_seg', 'gt_sem_seg'))
            truth = truth.to(prediction)
            areas = IoUMetric.intersect_and_union(
                prediction, truth, len(self.dataset_meta['classes']), self.ignore_index
            )
            result['areas'] = [old + new.double() for old, new in zip(result['areas'], areas, strict=True)]
            self._steadiness.add(prediction, truth)
            result.update(
                frames=sample['frame_index'] + 1,
                shares=self._steadiness.shares,
                counts=self._steadiness.counts,
            )

    def _result_of(self, sample: dict) -> dict:
        video, frame = sample.get('video_name'), sample.get('frame_index')
        if video is None:
            raise ValueError(
                'VideoSegMetric: a sample has no video_name in its metainfo, expected frames of a '
                'VideoSegDataset'
            )
        if frame == 0:
            self.results.append(dict(video=video, areas=[0, 0, 0, 0], frames=0))
            self._steadiness = Steadiness(self.windows, self.ignore_index)
        if not self.results or self.results[-1]['video'] != video or self.results[-1]['frames'] != frame:
            raise ValueError(
                f"VideoSegMetric: frame {frame} of video '{video}' does not follow the frame before it; "
                'expected each '
                'video in order on one rank, as mmstremn.VideoSampler gives them'
            )
        return self.results[-1]

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """mIoU, mAcc, aAcc and the consistencies in percent; those without any window are left out.

        Raises:
            ValueError: There are no results, or two of one video.
        """
        twice = [
            video for video, count in Counter(result['video'] for result in results).items() if count > 1
        ]
        if not results or twice:
            raise ValueError(
                f"VideoSegMetric: video '{twice[0]}' was given twice"
                if twice
                else 'VideoSegMetric: no frame was given'
            )
        areas = [sum(column) for column in zip(*(result['areas'] for result in results), strict=True)]
        measures = IoUMetric.total_area_to_metrics(*areas, ['mIoU'])
        metrics = {'aAcc': 100 * float(measures['aAcc'])}
        for name in ('IoU', 'Acc'):
            metrics[f'm{name}'] = 100 * float(torch.tensor(measures[name]).nanmean())
        for n in self.windows:
            windows = sum(result['counts'][n] for result in results)
            for place, name in enumerate((f'VC{n}', f'VC{n}_right')):
                if windows:
                    metrics[name] = 100 * sum(result['shares'][n][place] for result in results) / windows
        return {name: round(value, 3) for name, value in metrics.items()}
