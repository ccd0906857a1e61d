"""The share of clips whose class is right."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from mmstremn.registry import METRICS


@METRICS.register_module()
class ClipAccuracy(BaseMetric):
    """``accuracy``: right clips over all; ``mean_class_accuracy``: the mean over classes of the same, both in
    0..1.

    Reads ``gt_label`` and ``pred_label`` (tensors of one number) of every data sample.
    """

    default_prefix = 'Clip'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """One result a clip.

        Raises:
            ValueError: A data sample lacks a label.
        """
        for sample in data_samples:
            missing = {'gt_label', 'pred_label'} - set(sample.keys())
            if missing:
                raise ValueError(
                    f'expected data samples with gt_label and pred_label, {sorted(missing)} is missing'
                )
            self.results.append((int(sample['gt_label']), int(sample['pred_label'])))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """The two figures of the results of :meth:`process`.

        Raises:
            ValueError: There are no results.
        """
        if not results:
            raise ValueError('expected the results of at least one clip, got none')
        truth, predicted = np.array(results).T
        right = truth == predicted
        return dict(
            accuracy=float(right.mean()),
            mean_class_accuracy=float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
        )
