"""The share of clips whose class is right, over clips and over classes."""

import pytest
import torch

from mmstremn.evaluation import ClipAccuracy


def sample(truth, predicted):
    return dict(gt_label=torch.tensor([truth]), pred_label=torch.tensor([predicted]))


def test_shares_of_clips_and_of_classes():
    metric = ClipAccuracy()
    metric.process({}, [sample(0, 0), sample(0, 0), sample(0, 2)])
    metric.process({}, [sample(2, 1)])
    assert metric.results == [(0, 0), (0, 0), (0, 2), (2, 1)]
    figures = metric.evaluate(4)
    assert figures == {
        'Clip/accuracy': pytest.approx(2 / 4),
        'Clip/mean_class_accuracy': pytest.approx((2 / 3 + 0) / 2),
    }
    assert all(type(value) is float for value in figures.values())


@pytest.mark.parametrize('name', ['gt_label', 'pred_label'])
def test_a_missing_label_is_named(name):
    lacking = sample(0, 0)
    del lacking[name]
    with pytest.raises(ValueError, match=rf"^expected data samples with .*, \['{name}'\] is missing$"):
        ClipAccuracy().process({}, [lacking])


def test_no_results_are_an_error():
    with pytest.raises(ValueError, match='expected the results of at least one clip, got none'):
        ClipAccuracy().compute_metrics([])
