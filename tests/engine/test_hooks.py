"""The hooks and the pictures they make."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from torch import nn

from mmstremn.datasets.samplers import IterationSampler
from mmstremn.engine import (
    ClipSkipHook,
    FiniteLossHook,
    GumbelTemperatureHook,
    SelectorStatisticsHook,
    SlotTimelineHook,
)
from mmstremn.memory import GumbelSelector
from mmstremn.structures import VOSDataSample
from mmstremn.utils.palette import DAVIS_PALETTE
from mmstremn.visualization import draw_slot_timeline, overlay, write_overlay_video


class FakeRunner(SimpleNamespace):
    """As much of a runner as these hooks look at."""

    def __init__(self, model=None, max_iters=100):
        self.scalars, self.warnings = {}, []
        sampler = IterationSampler(range(4), seed=0)
        super().__init__(
            model=model,
            iter=0,
            max_iters=max_iters,
            train_dataloader=SimpleNamespace(sampler=sampler),
            message_hub=SimpleNamespace(update_scalar=self.scalars.__setitem__),
            logger=SimpleNamespace(warning=self.warnings.append),
        )


def make_selector():
    return GumbelSelector(key_channels=4, value_channels=4, channels=4)


@pytest.mark.parametrize('mode, middle', [('exponential', 0.1), ('linear', 0.505)])
def test_temperature_is_a_function_of_the_iteration(mode, middle):
    model = nn.ModuleDict(dict(first=make_selector(), second=nn.Sequential(make_selector())))
    runner = FakeRunner(model)
    hook = GumbelTemperatureHook(start=1.0, end=0.01, begin_iter=10, end_iter=50, mode=mode)
    for iteration, expected in ((0, 1.0), (10, 1.0), (30, middle), (50, 0.01), (99, 0.01)):
        runner.iter = iteration
        hook.before_train_iter(runner, iteration)
        assert model['first'].temperature == pytest.approx(expected)
        assert model['second'][0].temperature == pytest.approx(expected)
        assert runner.scalars['train/selector/temperature'] == pytest.approx(expected)


def test_temperature_ends_with_the_training():
    assert GumbelTemperatureHook(end=0.5).temperature(99, max_iters=100) == pytest.approx(0.5)


@pytest.mark.parametrize(
    'arguments, message', [(dict(mode='cosine'), "got 'cosine'"), (dict(end=0), 'end=0')]
)
def test_bad_temperatures_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GumbelTemperatureHook(**arguments)


@pytest.mark.parametrize('schedule', [[(0, 5), (10, 8), (90, 3)], [(0.0, 5), (0.1, 8), (0.9, 3)]])
def test_clip_skip_reaches_the_requests_of_its_iteration(schedule):
    runner = FakeRunner()
    ClipSkipHook(schedule).before_train(runner)
    sampler = runner.train_dataloader.sampler
    sampler.start = 9
    requests = iter(sampler)
    assert [next(requests).max_skip for _ in range(2)] == [5, 8]
    sampler.start = 89
    requests = iter(sampler)
    assert [next(requests).max_skip for _ in range(2)] == [8, 3]


@pytest.mark.parametrize('schedule', [[], [(10, 5), (0, 8)], [(0, 0)]])
def test_bad_skips_are_refused(schedule):
    with pytest.raises(ValueError, match='ascending pairs'):
        ClipSkipHook(schedule)


def train_selector(selector, gradient, iterations=4):
    """The runner after iterations in which ``gradient`` (or nothing) reaches the selector and is cleared at
    once."""
    runner = FakeRunner(nn.Sequential(selector))
    hook = SelectorStatisticsHook(interval=2, patience=4)
    hook.before_train(runner)
    for runner.iter in range(iterations):
        if gradient is not None and any(p.requires_grad for p in selector.parameters()):
            sum((p * gradient).sum() for p in selector.parameters()).backward()
            selector.zero_grad()
        hook.after_train_iter(runner, runner.iter)
    hook.after_train(runner)
    return runner


def test_statistics_are_logged():
    selector = make_selector()
    selector._sums = {name: torch.tensor(6.0) for name in ('choices', 'entropy', 'skips', 'age')}
    runner = train_selector(selector, gradient=1.0, iterations=2)
    assert runner.scalars['train/selector/choices'] == 6
    assert runner.scalars['train/selector/entropy'] == 1
    assert not selector.pop_statistics().get('choices')


@pytest.mark.parametrize('gradient', [None, 0.0])
def test_selector_without_gradient_warns(gradient):
    warnings = train_selector(make_selector(), gradient).warnings
    assert len(warnings) == 1
    assert "the selector '0' got no gradient in the last 4 iterations" in warnings[0]


def test_selector_with_gradient_does_not_warn():
    assert train_selector(make_selector(), 1e-8).warnings == []


def test_frozen_selector_does_not_warn():
    assert train_selector(make_selector().requires_grad_(False), None).warnings == []


def test_slot_timeline_shows_what_is_held():
    timeline = np.full((40, 3), -1)
    timeline[:, 0] = 0
    empty = draw_slot_timeline(np.full((40, 3), -1), 'a video')
    image = draw_slot_timeline(timeline, 'a video')
    assert image.dtype == np.uint8
    assert image.shape == empty.shape
    assert image.shape[2] == 3
    changed = (image != empty).any(-1)
    assert 0.1 < changed.mean() < 0.5  # one of three slots is filled
    with pytest.raises(ValueError, match=r'\(T, S\), got \(3,\)'):
        draw_slot_timeline(np.zeros(3, int))


def test_timelines_of_videos_with_slashes_have_files_of_their_own():
    names = ['a/b', 'a_b', 'a%2Fb']
    samples = [VOSDataSample(metainfo=dict(video_name=n, slot_timeline=np.zeros((2, 1), int))) for n in names]
    written = []
    visualizer = SimpleNamespace(add_image=lambda name, image, step: written.append(name))
    SlotTimelineHook().after_test_iter(SimpleNamespace(visualizer=visualizer), 0, outputs=samples)
    assert written == ['slot_timeline_a%2Fb', 'slot_timeline_a_b', 'slot_timeline_a%252Fb']


def test_overlay_blends_objects_and_leaves_background_and_void():
    frame = np.full((20, 20, 3), 100, np.uint8)
    ids = np.zeros((20, 20), np.uint8)
    ids[5:15, 5:15] = 2
    ids[0, 0] = 255
    picture = overlay(frame, ids, alpha=0.25)
    assert (picture[0, 0] == 100).all()
    assert (picture[10, 10] == np.round(0.75 * 100 + 0.25 * DAVIS_PALETTE[2])).all()
    assert (picture[5, 10] == DAVIS_PALETTE[2]).all()
    with pytest.raises(ValueError, match='expected a mask of the size of the frame'):
        overlay(frame, ids[1:])


def test_overlay_video_of_odd_size_has_every_frame(tmp_path):
    frames = [np.full((33, 45, 3), 30 * i, np.uint8) for i in range(5)]
    masks = [np.zeros((33, 45), np.uint8) for _ in frames]
    write_overlay_video(tmp_path / 'a/video.mp4', iter(frames), iter(masks), fps=5)
    with av.open(str(tmp_path / 'a/video.mp4')) as container:
        decoded = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert [frame.shape for frame in decoded] == [(34, 46, 3)] * 5
    assert np.abs(decoded[3].mean() - 90) < 5
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['video.mp4']


def test_overlay_video_that_fails_leaves_nothing(tmp_path):
    frames = [np.zeros((8, 8, 3), np.uint8)] * 2
    with pytest.raises(ValueError, match='shorter'):
        write_overlay_video(tmp_path / 'video.mp4', frames, [np.zeros((8, 8), np.uint8)])
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_training_before_a_checkpoint():
    hook = FiniteLossHook(interval=10)
    runner = FakeRunner()
    runner.iter = 3
    hook.after_train_iter(runner, 3, outputs=dict(loss=torch.tensor(1.0)))
    hook.before_save_checkpoint(runner, {})
    hook.after_train_iter(runner, 3, outputs=dict(loss=torch.tensor(1.0), loss_ce=torch.tensor(float('nan'))))
    with pytest.raises(FloatingPointError, match=r'iteration 3: .*loss_ce.*nan'):
        hook.before_save_checkpoint(runner, {})
    runner.iter = 9
    with pytest.raises(FloatingPointError, match='iteration 9'):
        hook.after_train_iter(runner, 9, outputs=dict(loss=torch.tensor(float('inf'))))
