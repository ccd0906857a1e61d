"""False alarms while an object is away, and how well it is found again."""

import numpy as np
import pytest

from mmstremn.datasets import Video
from mmstremn.evaluation import DAVISMetric, absence_measures, evaluate_video
from mmstremn.utils import encode_palette_png


class ArrayVideo(Video):
    """The masks (T, H, W) of a video whose frames nobody needs."""

    def __init__(self, ids):
        self.ids, self.name, self.num_frames, self.size = ids, 'clip', len(ids), ids.shape[1:]

    def frame(self, index):
        raise AssertionError('the evaluation must not decode frames')

    def mask(self, index):
        return self.ids[index]


def encode(ids):
    return [encode_palette_png(mask) for mask in ids]


def away_and_back(frames=30, away=range(10, 15), size=(40, 50)):
    """(T, H, W): a square that is missing in the frames ``away``."""
    ids = np.zeros((frames, *size), np.uint8)
    ids[:, 5:25, 5:25] = 1
    ids[list(away)] = 0
    return ids


def counts_of(truth, predicted):
    return evaluate_video(ArrayVideo(truth), encode(predicted))['objects'][1]['absence']


def test_perfect_predictions_give_no_false_alarm_and_full_reidentification():
    truth = away_and_back()
    counts = counts_of(truth, truth)
    assert counts == dict(absent=5, alarms=0, returned=10, returned_sum=10)
    assert absence_measures([counts]) == dict(false_alarms=0, reidentification=1)


def test_painting_is_a_false_alarm_above_a_thousandth_of_the_picture():
    truth = away_and_back()
    predicted = truth.copy()
    predicted[10, 0, :2] = 1  # 2 of 2,000 pixels: not more than .1 %
    predicted[11, 0, :3] = 1
    assert counts_of(truth, predicted)['alarms'] == 1


def test_ten_frames_after_each_return_are_scored_and_a_second_absence_ends_them():
    truth = away_and_back(frames=40, away=[5, 6, 10])
    predicted = truth.copy()
    predicted[7:10] = 0  # three frames between the absences
    counts = counts_of(truth, predicted)
    assert (counts['returned'], counts['returned_sum']) == (3 + 10, 10)


def test_videos_in_which_nothing_leaves_say_nothing_of_it():
    truth = away_and_back(away=[])
    assert 'absence' not in evaluate_video(ArrayVideo(truth), encode(truth))['objects'][1]
    assert absence_measures([]) == {}


def test_metric_pools_the_frames_of_all_objects():
    metric = DAVISMetric()
    for away, predicted_away in ((range(10, 12), []), (range(10, 14), range(10, 14))):
        truth, predicted = away_and_back(away=away), away_and_back(away=predicted_away)
        metric.process(dict(inputs=[ArrayVideo(truth)]), [dict(pred_masks=encode(predicted))])
    figures = metric.compute_metrics(metric.results)
    assert figures['false_alarms'] == pytest.approx(2 / 6)
    assert figures['reidentification'] == pytest.approx(1)
