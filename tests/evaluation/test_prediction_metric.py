"""The measures of predicted frames against their formulas written out, and the metric."""

import importlib.util
import json
import math
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator

from mmstremn.datasets import MovingDigitsDataset
from mmstremn.evaluation import (
    PROTOCOLS,
    VideoPredictionMetric,
    measure_frames,
    prediction_metric as metric_module,
)
from mmstremn.evaluation.prediction_measures import MAX_PSNR
from mmstremn.registry import METRICS, build
from mmstremn.structures import PredictionDataSample

MEASURES = ('MSE', 'MAE', 'PSNR', 'SSIM')
SEEN, HORIZON = 3, 4


def make_clip(seed=0, channels=1, size=(16, 20), horizon=HORIZON):
    """(T, C, H, W) uint8 frames of smooth noise, and float32 predictions of the last ``horizon`` that leave
    0..1."""
    rng = np.random.default_rng(seed)
    frames = (
        rng.integers(0, 256, (SEEN + horizon, channels, size[0] // 4, size[1] // 4)).repeat(4, 2).repeat(4, 3)
    )
    pred = frames[SEEN:] / 255 + rng.normal(0, 0.2, frames[SEEN:].shape)
    return frames.astype(np.uint8), pred.astype(np.float32)


def make_batch(clips, names=None):
    """What mmengine's loops give to a metric for (frames, predictions) pairs."""
    items = []
    for place, (frames, pred) in enumerate(clips):
        name = names[place] if names else f'clip_{place}'
        sample = PredictionDataSample(metainfo=dict(clip_name=name, input_frames=SEEN))
        sample.pred_frames, sample.true_frames = torch.from_numpy(pred), torch.from_numpy(frames[SEEN:])
        items.append(dict(inputs=torch.from_numpy(frames), data_samples=sample))
    return pseudo_collate(items)


def evaluate(metric, *batches):
    evaluator = Evaluator(metric)
    for batch in batches:
        evaluator.process(data_samples=batch['data_samples'], data_batch=batch)
    return evaluator.evaluate(sum(len(batch['inputs']) for batch in batches))


# The formulas, in float64 and one number at a time


def clip01(value):
    return min(max(value, 0.0), 1.0)


def plain_errors(pred, true, clipped):
    """Per frame the sum and the number of squared and absolute errors."""
    frames = []
    for pred_frame, true_frame in zip(pred.tolist(), true.tolist(), strict=True):
        squares, absolutes, count = 0.0, 0.0, 0
        for p, t in zip(np.ravel(pred_frame), np.ravel(true_frame), strict=True):
            error = (clip01(float(p)) if clipped else float(p)) - int(t) / 255
            squares, absolutes, count = squares + error * error, absolutes + abs(error), count + 1
        frames.append((squares, absolutes, count))
    return frames


def plain_ssim(pred, true, window, sample, data_range):
    """SSIM of one frame (C, H, W) with a window (K, K) of weights of sum 1, over the places where it fits."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    side = len(window)
    scale = side * side / (side * side - 1) if sample else 1
    channels = []
    for x_all, y_all in zip(pred.astype(np.float64), true.astype(np.float64), strict=True):
        values = []
        for i in range(x_all.shape[0] - side + 1):
            for j in range(x_all.shape[1] - side + 1):
                x, y = x_all[i : i + side, j : j + side], y_all[i : i + side, j : j + side]
                mx, my = (window * x).sum(), (window * y).sum()
                vx = scale * (window * (x - mx) ** 2).sum()
                vy = scale * (window * (y - my) ** 2).sum()
                vxy = scale * (window * (x - mx) * (y - my)).sum()
                values.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
        channels.append(np.mean(values))
    return np.mean(channels)


FLAT = np.full((7, 7), 1 / 49)
BELL = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
GAUSSIAN = np.outer(BELL, BELL) / np.outer(BELL, BELL).sum()


def plain_measures(pred, true, protocol):
    """Every measure of every frame, as the three protocols define them."""
    unclipped = plain_errors(pred, true, clipped=False)
    clipped = plain_errors(pred, true, clipped=True)
    result = {name: [] for name in MEASURES}
    for index, (frame, target) in enumerate(zip(pred, true, strict=True)):
        squares, absolutes, count = clipped[index]
        if protocol == 'standard':
            mse, mae = squares / count, absolutes / count
            psnr = 10 * math.log10(1 / (squares / count))
            ssim = plain_ssim(np.clip(frame, 0, 1), target / 255, GAUSSIAN, sample=False, data_range=1)
        elif protocol == 'openstl':
            mse, mae = unclipped[index][:2]
            psnr = 20 * math.log10(1 / math.sqrt(squares / count))
            ssim = plain_ssim(np.clip(frame, 0, 1), target / 255, FLAT, sample=True, data_range=2)
        else:
            mse, mae = squares, absolutes
            eight_bits = np.array(
                [int(np.float32(clip01(p)) * np.float32(255)) for p in frame.ravel()]
            ).reshape(frame.shape)
            error = ((eight_bits - target.astype(int)) ** 2).mean()
            psnr = 20 * math.log10(255) - 10 * math.log10(error)
            ssim = plain_ssim(eight_bits, target, FLAT, sample=True, data_range=255)
        for name, value in zip(MEASURES, (mse, mae, psnr, ssim), strict=True):
            result[name].append(value)
    return result


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('protocol', ['standard', 'openstl', 'predrnn'])
def test_measures_are_their_formulas(protocol, channels):
    frames, pred = make_clip(channels=channels)
    assert pred.min() < 0 and pred.max() > 1
    measured = measure_frames(pred, frames[SEEN:], protocol)
    expected = plain_measures(pred, frames[SEEN:], protocol)
    assert list(measured) == list(MEASURES)
    for name in MEASURES:
        assert measured[name].shape == (HORIZON,) and measured[name].dtype == np.float64
        np.testing.assert_allclose(measured[name], expected[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('protocol', list(PROTOCOLS))
def test_all_8_bit_values_survive_and_perfect_frames_have_a_finite_psnr(protocol):
    true = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    for pred in (true / np.float32(255), true / 255.0):
        measured = measure_frames(pred, true, protocol)
        assert measured['PSNR'][0] == MAX_PSNR and measured['SSIM'][0] == pytest.approx(1)
        assert measured['MSE'][0] == pytest.approx(0, abs=1e-9)


def test_a_prediction_of_the_inverse_is_worst():
    true = np.zeros((1, 1, 16, 16), np.uint8)
    measured = measure_frames(np.full(true.shape, 2.0), true, 'standard')
    assert measured['MSE'] == measured['MAE'] == [1.0] and measured['PSNR'] == [0.0]
    assert measure_frames(np.full(true.shape, 2.0), true, 'openstl')['MSE'] == [4 * 256]


@pytest.mark.parametrize('protocol', list(PROTOCOLS))
def test_figures_of_many_clips(protocol):
    clips = [make_clip(seed) for seed in range(5)]
    figures = evaluate(VideoPredictionMetric(protocol), make_batch(clips[:3]), make_batch(clips[3:]))
    for key, factor in (('', None), ('copy_last/', 1)):
        preds = [
            pred if factor is None else np.repeat(frames[SEEN - 1 : SEEN] / 255, HORIZON, 0)
            for frames, pred in clips
        ]
        all_values = [
            plain_measures(pred, frames[SEEN:], protocol)
            for pred, (frames, _) in zip(preds, clips, strict=True)
        ]
        for name in MEASURES:
            values = np.array([one[name] for one in all_values])
            summed = protocol == 'predrnn' and name in ('MSE', 'MAE')
            expected = values.sum() / len(clips) if summed else values.mean()
            assert figures[f'prediction/{key}{name}'] == pytest.approx(expected, rel=1e-6)
    assert len(figures) == 8 and all(type(value) is float for value in figures.values())


def test_openstl_averages_over_batch_and_time_and_sums_over_pixels():
    clips = [make_clip(seed) for seed in range(3)]
    figures = evaluate(VideoPredictionMetric('openstl'), make_batch(clips))
    pred = np.stack([pred for _, pred in clips]).astype(np.float64)
    true = np.stack([frames[SEEN:] for frames, _ in clips]) / 255
    assert figures['prediction/MSE'] == pytest.approx(((pred - true) ** 2).mean(axis=(0, 1)).sum(), rel=1e-9)
    assert figures['prediction/MAE'] == pytest.approx(np.abs(pred - true).mean(axis=(0, 1)).sum(), rel=1e-9)


def test_the_report_and_the_log(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(metric_module, 'print_log', lambda text, **kwargs: logged.append(text))
    out_file = tmp_path / 'new' / 'report.json'
    metric = build(dict(type='VideoPredictionMetric', protocol='predrnn', out_file=str(out_file)), METRICS)
    clips = [make_clip(seed) for seed in range(2)]
    for _ in range(2):
        figures = evaluate(metric, make_batch(clips, ['one', 'two']))
    assert sum("protocol 'predrnn'" in text and "PredRNN's" in text for text in logged) == 1
    assert all('2 clips, predrnn' in text and 'copy_last/PSNR' in text for text in logged[1:])
    report = json.loads(out_file.read_text())
    assert report['protocol'] == 'predrnn'
    assert {f'prediction/{key}': value for key, value in report['metrics'].items()} == figures
    assert [clip['name'] for clip in report['clips']] == ['one', 'two']
    for key, values in report['per_frame'].items():
        assert len(values) == HORIZON
        np.testing.assert_allclose(values, np.mean([clip['frames'][key] for clip in report['clips']], axis=0))
    frames, pred = clips[1]
    expected = plain_measures(pred, frames[SEEN:], 'predrnn')['PSNR']
    np.testing.assert_allclose(report['clips'][1]['frames']['PSNR'], expected)
    assert report['metrics']['copy_last/MSE'] == pytest.approx(sum(report['per_frame']['copy_last/MSE']))


def test_costs_are_kept_where_a_model_tells_them():
    batch = make_batch([make_clip(0), make_clip(1)], ['timed', 'not'])
    samples = [sample.to_dict() for sample in batch['data_samples']]
    samples[0] |= dict(frame_seconds=0.25, state_bytes=torch.tensor(7))
    metric = VideoPredictionMetric(measures=['MSE'])
    metric.process(batch, samples)
    assert [(one.get('fps'), one.get('state_bytes')) for one in metric.results] == [(4.0, 7), (None, None)]


def test_a_model_that_copies_the_last_frame_has_the_figures_of_copy_last():
    dataset = MovingDigitsDataset('dev', size=32, num_clips=3)
    batch = pseudo_collate([dataset[index] for index in range(3)])
    for frames, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        sample.true_frames = frames[10:]
        sample.pred_frames = (frames[9:10].float() / 255).expand(10, -1, -1, -1)
    for protocol in PROTOCOLS:
        figures = evaluate(VideoPredictionMetric(protocol), batch)
        for name in MEASURES:
            assert figures[f'prediction/{name}'] == pytest.approx(
                figures[f'prediction/copy_last/{name}'], rel=1e-6
            )
        assert 5 < figures['prediction/PSNR'] < 25


def test_frames_in_which_something_returns_have_their_own_psnr(tmp_path):
    clips = [make_clip(seed) for seed in range(3)]
    batch = make_batch(clips)
    returned = [[1, 3], [], [0]]
    for sample, places in zip(batch['data_samples'], returned, strict=True):
        sample.set_metainfo(dict(returned_frames=places))
    out_file = tmp_path / 'report.json'
    figures = evaluate(VideoPredictionMetric(out_file=str(out_file)), batch)
    report = json.loads(out_file.read_text())
    for key in ('PSNR', 'copy_last/PSNR'):
        values = [
            clip['frames'][key][place]
            for clip, places in zip(report['clips'], returned, strict=True)
            for place in places
        ]
        assert figures[f'prediction/{key}_returned'] == pytest.approx(sum(values) / 3)
    assert [clip['returned_frames'] for clip in report['clips']] == returned
    assert len(figures) == 10
    assert len(evaluate(VideoPredictionMetric(measures=('MSE',)), batch)) == 2


def test_padded_repeats_are_dropped():
    clips = [make_clip(0), make_clip(1), make_clip(0)]
    metric = VideoPredictionMetric()
    batch = make_batch(clips)
    metric.process(batch, [sample.to_dict() for sample in batch['data_samples']])
    expected = evaluate(VideoPredictionMetric(), make_batch(clips[:2]))
    assert len(metric.results) == 3 and metric.evaluate(2) == expected


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_prediction_that_is_no_number_names_the_clip(value):
    frames, pred = make_clip()
    pred[2, 0, 3, 4] = value
    with pytest.raises(ValueError, match="clip 'bad': predicted frame 2 is not finite"):
        evaluate(VideoPredictionMetric(), make_batch([make_clip(), (frames, pred)], ['good', 'bad']))


def test_bad_predictions_name_the_clip():
    frames, pred = make_clip()
    for bad, message in (
        (pred[:2], r"clip 'clip_0': expected predicted and true frames of one shape .* \(2, 1, 16, 20\)"),
        (pred.astype(np.uint8), "clip 'clip_0': expected float predictions"),
        (
            pred.astype(np.float64)[:, :, :8, :8],
            "clip 'clip_0': expected predicted and true frames of one shape",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(VideoPredictionMetric(), make_batch([(frames, bad)]))
    with pytest.raises(ValueError, match="clip 'clip_0': frames of 8 x 8 pixels, expected 11 or more"):
        evaluate(VideoPredictionMetric(), make_batch([make_clip(size=(8, 8))]))
    batch = make_batch([(frames, pred)])
    del batch['data_samples'][0].pred_frames
    with pytest.raises(ValueError, match=r"clip 'clip_0': .* pred_frames missing"):
        evaluate(VideoPredictionMetric(), batch)


def test_clips_of_other_horizons_are_refused():
    with pytest.raises(ValueError, match="clip 'clip_1': 2 predicted frames, expected 4 like clip 'clip_0'"):
        evaluate(VideoPredictionMetric(), make_batch([make_clip(), make_clip(horizon=2)]))


def test_bad_settings():
    with pytest.raises(ValueError, match="protocol 'simvp' is none of standard, openstl, predrnn"):
        VideoPredictionMetric('simvp')
    with pytest.raises(ValueError, match='must be some of MSE, MAE, PSNR, SSIM, LPIPS, got FVD'):
        VideoPredictionMetric(measures=['FVD'])
    with pytest.raises(ValueError, match='got none'):
        VideoPredictionMetric(measures=[])
    with pytest.raises(ValueError, match='at least one clip'):
        VideoPredictionMetric().compute_metrics([])


# LPIPS


class FakeNetwork(torch.nn.Module):
    """In place of AlexNet's distances: keeps what it is given, and returns the mean difference as lpips
    shapes it."""

    def __init__(self, net, verbose):
        super().__init__()
        assert net == 'alex' and verbose is False, 'the log stays quiet'
        self.given = []

    def forward(self, pred, true):
        self.given.append((pred, true))
        return (pred - true).abs().mean(dim=(1, 2, 3), keepdim=True)


@pytest.mark.parametrize(('protocol', 'low'), [('standard', -1), ('openstl', -1), ('predrnn', 0)])
@pytest.mark.parametrize('channels', [1, 3])
def test_lpips_gets_the_values_of_the_protocol(monkeypatch, protocol, low, channels):
    monkeypatch.setitem(sys.modules, 'lpips', types.SimpleNamespace(LPIPS=FakeNetwork))
    metric = VideoPredictionMetric(protocol, measures=['LPIPS'])
    frames, pred = make_clip(channels=channels)
    figures = evaluate(metric, make_batch([(frames, pred)]))
    given_pred, given_true = metric.lpips.network.given[0]
    assert given_pred.shape == given_true.shape == (HORIZON, 3, 16, 20) and given_pred.dtype == torch.float32
    scale = 1 - low
    np.testing.assert_allclose(
        given_pred, np.broadcast_to(low + scale * pred.clip(0, 1), given_pred.shape), atol=1e-6
    )
    np.testing.assert_allclose(
        given_true, np.broadcast_to(low + scale * (frames[SEEN:] / 255), given_true.shape), atol=1e-6
    )
    expected = scale * np.abs(pred.clip(0, 1) - frames[SEEN:] / 255).mean()
    assert set(figures) == {'prediction/LPIPS', 'prediction/copy_last/LPIPS'}
    assert figures['prediction/LPIPS'] == pytest.approx(expected, rel=1e-5)


def test_lpips_in_single_precision_is_kept_in_double():
    frames, pred = make_clip()
    found = measure_frames(
        pred, frames[SEEN:], 'standard', ['LPIPS'], lambda pred, true: (pred - true).mean(axis=(1, 2, 3))
    )
    assert found['LPIPS'].shape == (HORIZON,) and found['LPIPS'].dtype == np.float64


def test_missing_lpips_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(ImportError, match=r"pip install 'mmstremn\[prediction\]'"):
        VideoPredictionMetric(measures=['PSNR', 'LPIPS'])


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch):
    def refuse(**kwargs):
        raise OSError('no network')

    monkeypatch.setitem(sys.modules, 'lpips', types.SimpleNamespace(LPIPS=refuse))
    with pytest.raises(RuntimeError, match=r'weights of AlexNet in .*checkpoints.*no network'):
        VideoPredictionMetric(measures=['LPIPS'])


@pytest.mark.skipif(importlib.util.find_spec('lpips') is None, reason='the extra lpips is not installed')
def test_the_real_lpips_takes_grey_frames():
    import lpips

    network = lpips.LPIPS(net='alex', pretrained=False, pnet_rand=True, verbose=False)
    frames = torch.rand(2, 1, 64, 64) * 2 - 1
    assert network(frames.expand(-1, 3, -1, -1), frames.expand(-1, 3, -1, -1)).flatten().tolist() == [0, 0]
