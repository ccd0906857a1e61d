"""mIoU and video consistency of frames that come one by one, against their definitions on whole videos."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import numpy as np
import torch
from helpers.mmseg_cases import FIFO  # noqa: F401  (skips without mmsegmentation)
from mmseg.evaluation import IoUMetric

from mmstremn.adapters.mmseg import VideoSegMetric

CLASSES, IGNORED = ('a', 'b', 'c'), 255


def build(windows=(3,)):
    metric = VideoSegMetric(windows=windows, prefix='v')
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def sample(video, frame, prediction, truth):
    return dict(
        video_name=video,
        frame_index=frame,
        pred_sem_seg=dict(data=torch.from_numpy(prediction)[None]),
        gt_sem_seg=dict(data=torch.from_numpy(truth)[None]),
    )


def make(seed, frames, void=0.1):
    """Predictions and truths (T, H, W) that change now and then."""
    rng = np.random.default_rng(seed)
    base = np.kron(rng.integers(0, 3, (frames, 2, 2)), np.ones((3, 3), int))
    truth = np.where(rng.random((1, 6, 6)) < 0.7, base[:1], base)
    prediction = np.where(rng.random((frames, 6, 6)) < 0.9, truth, rng.integers(0, 3, (frames, 6, 6)))
    return prediction, np.where(rng.random((frames, 6, 6)) < void, IGNORED, truth)


def run(metric, videos):
    for name, (prediction, truth) in videos.items():
        for frame, pair in enumerate(zip(prediction, truth, strict=True)):
            metric.process(None, [sample(name, frame, *pair)])
    return metric.evaluate(10**6)


def consistency(videos, n, right):
    """By the definition, window by window."""
    shares = []
    for prediction, truth in videos.values():
        for start in range(len(truth) - n + 1):
            p, t = prediction[start : start + n], truth[start : start + n]
            common = (t == t[0]).all(0) & (t[0] != IGNORED)
            kept = (p == t).all(0) if right else (p == p[0]).all(0)
            if common.any():
                shares.append((kept & common).sum() / common.sum())
    return 100 * np.mean(shares)


@pytest.mark.parametrize('n', [2, 3, 8])
def test_consistency_is_that_of_its_definition(n):
    videos = {f'v{seed}': make(seed, frames) for seed, frames in enumerate((9, 2, 12))}
    metrics = run(build((n,)), videos)
    assert metrics[f'v/VC{n}'] == pytest.approx(consistency(videos, n, right=False), abs=1e-3)
    assert metrics[f'v/VC{n}_right'] == pytest.approx(consistency(videos, n, right=True), abs=1e-3)
    assert metrics[f'v/VC{n}_right'] <= metrics[f'v/VC{n}'] < 100


def test_a_steady_error_is_consistent_but_not_right():
    truth = np.ones((4, 2, 2), int)
    metrics = run(build(), {'v': (np.zeros_like(truth), truth)})
    assert (metrics['v/VC3'], metrics['v/VC3_right'], metrics['v/mIoU']) == (100, 0, 0)
    flicker = np.arange(4)[:, None, None] % 2 * np.ones_like(truth)
    assert run(build(), {'v': (flicker, truth)})['v/VC3'] == 0


def test_iou_is_that_of_mmsegmentation():
    videos = {'v0': make(1, 5), 'v1': make(2, 3)}
    theirs = IoUMetric()
    theirs.dataset_meta = dict(classes=CLASSES)
    for name, pair in videos.items():
        theirs.process(None, [sample(name, i, *frame) for i, frame in enumerate(zip(*pair, strict=True))])
    expected, metrics = theirs.evaluate(8), run(build(), videos)
    for name in ('aAcc', 'mIoU', 'mAcc'):
        assert metrics[f'v/{name}'] == pytest.approx(expected[name], abs=0.006)


def test_videos_that_are_too_short_or_unlabelled_have_no_consistency():
    truth = np.full((5, 2, 2), IGNORED)
    truth[2] = 1  # one labelled frame, as in Cityscapes
    metrics = run(build(), {'v': (np.ones_like(truth), truth), 'w': make(0, 2)})
    assert set(metrics) == {'v/aAcc', 'v/mIoU', 'v/mAcc'}


def test_one_result_per_video_and_nothing_is_left_behind():
    metric = build()
    first = run(metric, {'v': make(0, 4), 'w': make(1, 4)})
    assert not metric.results
    assert run(metric, {'v': make(0, 4), 'w': make(1, 4)}) == first
    for frame in range(3):
        metric.process(None, [sample('v', frame, *(part[frame] for part in make(0, 4)))])
    assert len(metric.results) == 1


@pytest.mark.parametrize('frames', [[('v', 1)], [('v', 0), ('v', 2)], [('v', 0), ('w', 1)]])
def test_frames_out_of_order_are_refused(frames):
    metric, (prediction, truth) = build(), make(0, 1)
    with pytest.raises(
        ValueError, match=r"of video '[vw]' does not follow the frame before it.*VideoSampler"
    ):
        for video, frame in frames:
            metric.process(None, [sample(video, frame, prediction[0], truth[0])])


def test_a_video_on_two_ranks_an_image_and_nothing_are_refused():
    metric = build()
    run(metric, {'v': make(0, 3)})
    with pytest.raises(ValueError, match="video 'v' was given twice"):
        run_twice = build()
        for _ in range(2):
            for frame, pair in enumerate(zip(*make(0, 3), strict=True)):
                run_twice.process(None, [sample('v', frame, *pair)])
        run_twice.evaluate(6)
    with pytest.raises(ValueError, match='no frame was given'):
        metric.compute_metrics([])
    with pytest.raises(ValueError, match='a sample has no video_name'):
        metric.process(None, [dict(img_path='x')])
