"""What all metrics have in common: their options, batches, tables and reports."""

import json

import numpy as np
import pytest
import torch

from mmstremn.datasets import Video
from mmstremn.evaluation import (
    MEASURES,
    ClipAccuracy,
    DAVISMetric,
    VideoPredictionMetric,
    YouTubeVOSMetric,
    prediction_metric,
    score_table,
)
from mmstremn.evaluation.prediction_metric import horizon_table
from mmstremn.registry import METRICS
from mmstremn.utils import encode_palette_png

METRIC_CLASSES = {
    ClipAccuracy: ('Clip', {}),
    DAVISMetric: ('DAVIS', {}),
    VideoPredictionMetric: ('prediction', {}),
    YouTubeVOSMetric: ('YouTubeVOS', dict(seen_categories=['cat'])),
}
of_all_metrics = pytest.mark.parametrize(
    ('metric_class', 'prefix', 'options'), [(c, *rest) for c, rest in METRIC_CLASSES.items()]
)


def test_all_metrics_are_here():
    ours = {
        part for part in METRICS.module_dict.values() if part.__module__.startswith('mmstremn.evaluation.')
    }
    assert ours == set(METRIC_CLASSES)


@of_all_metrics
def test_how_results_are_collected_and_named(metric_class, prefix, options, tmp_path):
    metric = metric_class(**options)
    assert (metric.collect_device, metric.prefix, metric.collect_dir) == ('cpu', prefix, None)
    assert metric_class(**options, collect_device='gpu').collect_device == 'gpu'
    named = metric_class(**options, prefix='mine', collect_dir=str(tmp_path))
    assert (named.prefix, named.collect_dir) == ('mine', str(tmp_path))


@pytest.mark.parametrize('metric_class', [DAVISMetric, VideoPredictionMetric, YouTubeVOSMetric])
@pytest.mark.parametrize(('inputs', 'samples'), [([], [{}]), ([None], [])])
def test_a_batch_has_a_data_sample_for_each_input(metric_class, inputs, samples):
    metric = metric_class(**METRIC_CLASSES[metric_class][1])
    with pytest.raises(ValueError, match='zip'):
        metric.process(dict(inputs=inputs), samples)
    assert metric.results == []


OBJECTS = """\
┏━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┓
┃ video       ┃ object ┃ frames ┃  J&F ┃ J-Mean ┃ J-Recall ┃ J-Decay ┃ F-Mean ┃ F-Recall ┃ F-Decay ┃
┡━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━┩
│ goat        │ 1      │ 7      │ 50.0 │   51.0 │     52.0 │    53.0 │   54.0 │     55.0 │    56.0 │
│ goat        │ 12     │ 10     │ 93.0 │   94.0 │     95.0 │    96.0 │   97.0 │     98.0 │    99.0 │
│ a long name │ 3      │ 7      │  0.0 │    1.0 │      2.0 │     3.0 │    4.0 │      5.0 │     6.0 │
├─────────────┼────────┼────────┼──────┼────────┼──────────┼─────────┼────────┼──────────┼─────────┤
│ all objects │        │        │ 40.0 │   41.0 │     42.0 │    43.0 │   44.0 │     45.0 │    46.0 │
└─────────────┴────────┴────────┴──────┴────────┴──────────┴─────────┴────────┴──────────┴─────────┘
 false alarms in 12.3% of the frames without the object, J&F after a return 50.0%, 12.35 frames per
                                               second"""
HORIZON = """\
       2 clips, standard
┏━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┓
┃ frame ┃        MSE ┃   PSNR ┃
┡━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━┩
│ 1     │   0.012346 │      7 │
│ 2     │ 1.2346e+06 │ 25.123 │
├───────┼────────────┼────────┤
│ all   │ 6.1728e+05 │     16 │
└───────┴────────────┴────────┘"""


def stripped(table):
    return '\n'.join(line.rstrip() for line in table.splitlines())


def test_the_table_of_objects():
    def scores(first, frames):
        return dict(zip(MEASURES, first + np.arange(7) / 100, strict=True), num_scored=frames)

    videos = [
        dict(name='goat', objects={1: scores(0.5, 7), 12: scores(0.93, 10)}),
        dict(name='a long name', objects={3: scores(0, 7)}),
    ]
    table = score_table(videos, scores(0.4, 1) | dict(fps=12.345, false_alarms=0.1234, reidentification=0.5))
    assert stripped(table) == OBJECTS
    assert score_table(videos, scores(0.4, 1)).endswith('┘\n')


def test_names_are_printed_as_they_are():
    scores = dict.fromkeys(MEASURES, 0.5)
    table = score_table([dict(name='take [final] :car:', objects={1: scores | dict(num_scored=2)})], scores)
    assert 'take [final] :car: ' in table


def test_the_table_of_the_horizon():
    per_frame = dict(MSE=np.array([0.012345678, 1234567]), PSNR=np.array([7, 25.123456]))
    assert stripped(horizon_table(per_frame, dict(MSE=617283.5, PSNR=16), '2 clips, standard')) == HORIZON
    with pytest.raises(ValueError, match='zip'):
        horizon_table(dict(MSE=np.ones(2), PSNR=np.ones(3)), {}, '')


class Squares(Video):
    """Two squares in nine frames, of which the first alone is in the last."""

    name, num_frames, size = 'goat', 9, (30, 40)

    def frame(self, index):
        raise AssertionError('the evaluation must not decode frames')

    def mask(self, index):
        ids = np.zeros(self.size, np.uint8)
        ids[2:12, 3 + index : 13 + index] = 1
        ids[16:26, 3:13] = 2 * (index < 6)
        return ids


def test_the_report_of_videos(tmp_path):
    video, out_file = Squares(), tmp_path / 'davis.json'
    masks = [encode_palette_png(video.mask(index)) for index in range(9)]
    metric = DAVISMetric(str(out_file))
    metric.process(
        dict(inputs=[video]), [dict(pred_masks=masks, frame_seconds=0.25, state_bytes=torch.tensor(7))]
    )
    metric.evaluate(1)
    perfect = dict(zip(MEASURES, [1, 1, 1, 0, 1, 1, 0], strict=True))
    away = dict(absent=2, alarms=0, returned=0, returned_sum=0)
    assert json.loads(out_file.read_text()) == dict(
        metrics=perfect | dict(false_alarms=0, fps=4),
        videos=[
            dict(
                name='goat',
                num_frames=9,
                objects={
                    '1': perfect | dict(num_scored=7),
                    '2': perfect | dict(num_scored=7, absence=away),
                },
                mean=perfect,
                unscored_objects=[],
                fps=4,
                state_bytes=7,
            )
        ],
        unscored={},
    )


def test_a_video_that_is_timed_and_not_scored_counts_for_the_speed():
    class Unlabelled(Squares):
        name = 'unlabelled'

        def mask(self, index):
            return None if index else super().mask(0)

    videos, metric = [Squares(), Unlabelled()], DAVISMetric()
    masks = [encode_palette_png(videos[0].mask(index)) for index in range(9)]
    for video, seconds in zip(videos, (0.1, 0.3), strict=True):
        metric.process(dict(inputs=[video]), [dict(pred_masks=masks, frame_seconds=seconds)])
    assert metric.evaluate(2)['DAVIS/fps'] == pytest.approx(1 / 0.2)


def test_predictions_may_be_tensors_with_a_gradient_or_arrays():
    frames, metric = torch.zeros(3, 1, 11, 11, dtype=torch.uint8), VideoPredictionMetric(measures=('MAE',))
    pred = torch.full((1, 1, 11, 11), 0.25, requires_grad=True)
    sample = dict(clip_name='grey', input_frames=2, true_frames=frames[2:], pred_frames=pred)
    metric.process(dict(inputs=[frames]), [sample])
    arrays = dict(sample, true_frames=frames[2:].numpy(), pred_frames=pred.detach().numpy())
    metric.process(dict(inputs=[frames.numpy()]), [arrays])
    assert [result['frames']['MAE'] for result in metric.results] == [[0.25], [0.25]]


def test_the_report_of_clips(tmp_path, monkeypatch):
    """Of two frames that are seen and two that are predicted, of which the first is black as it should be."""
    logged = []
    monkeypatch.setattr(prediction_metric, 'print_log', lambda text, logger: logged.append((text, logger)))
    frames = np.zeros((4, 1, 11, 11), np.uint8)
    frames[3] = 255
    sample = dict(clip_name='digits', input_frames=2, true_frames=frames[2:], returned_frames=(1,))
    sample['pred_frames'] = np.float32([0, 0.9]).reshape(2, 1, 1, 1).repeat(11, 2).repeat(11, 3)
    out_file = tmp_path / 'report.json'
    metric = VideoPredictionMetric(measures=('MAE', 'PSNR'), out_file=str(out_file))
    metric.process(dict(inputs=[frames]), [sample | dict(frame_seconds=0.5, state_bytes=3)])
    metrics = metric.evaluate(1)
    per_frame = {'MAE': [0, 0.1], 'PSNR': [100, 20], 'copy_last/MAE': [0, 1], 'copy_last/PSNR': [100, 0]}
    expected = {name: np.mean(values) for name, values in per_frame.items()}
    expected |= {'PSNR_returned': 20, 'copy_last/PSNR_returned': 0}
    report = json.loads(out_file.read_text())
    assert metrics == {f'prediction/{name}': value for name, value in report['metrics'].items()}
    assert report['metrics'] == pytest.approx(expected, abs=1e-5)
    (clip,) = report.pop('clips')
    for values in (report['per_frame'], clip.pop('frames')):
        assert values.keys() == per_frame.keys()
        for name, value in per_frame.items():
            assert values[name] == pytest.approx(value, abs=1e-5)
    assert clip == dict(name='digits', returned_frames=[1], fps=2, state_bytes=3)
    assert report['protocol'] == 'standard' and set(report) == {'protocol', 'metrics', 'per_frame'}
    described, table, returned = logged
    assert described[0].startswith("protocol 'standard': predictions clipped to 0..1; MSE")
    assert table[0].startswith('\n') and '1 clips, standard' in table[0]
    said = 'frames that show what was hidden: PSNR_returned 20, copy_last/PSNR_returned 0'
    assert returned[0].replace('-0', '0') == said
    assert {logger for _, logger in logged} == {'current'}
