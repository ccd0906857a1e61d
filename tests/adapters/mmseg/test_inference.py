"""A segmentor with a memory on one's own video, beside mmsegmentation's own calls."""

import copy

import numpy as np
import pytest
import torch
from helpers.mmseg_cases import FCN, SIZE, build_data, build_model, remember
from helpers.runs import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.apis import MMSegInferencer, inference_model
from PIL import Image

from mmstremn.adapters.mmseg import segment_video
from mmstremn.structures import Video

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


class Frames(Video):
    """The RGB frames of an embedded video."""

    def __init__(self, source, length):
        self.source, self.num_frames, self.name, self.size = source, length, 'own', SIZE

    def frame(self, index):
        return self.source.frame(index)[..., ::-1]

    def mask(self, index):
        return None


@pytest.fixture
def model():
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = build_model(remember(FCN))
        torch.nn.init.normal_(model.decode_head.feature_memory.out.weight)
        model.cfg = Config(dict(test_pipeline=PIPELINE))
        yield model


@pytest.fixture
def data(model):
    return build_data()


def test_a_video_is_segmented_as_the_test_loop_does(model, data, tmp_path):
    with torch.no_grad():
        expected = [model.test_step(pseudo_collate([data[index]]))[0] for index in range(4)]
    video = Frames(data.get_data_info(0)['video'], 4)
    results = list(segment_video(model, video))
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data)
    arrays = [video.frame(index) for index in range(4)]
    files = [tmp_path / f'{index}.png' for index in range(4)]
    for path, frame in zip(files, arrays, strict=True):
        Image.fromarray(frame).save(path)
    for frames in (iter(arrays), files):
        for one, other in zip(segment_video(model, frames, 'again'), expected, strict=True):
            torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data)


def test_images_leave_the_memory_out_and_it_is_said(model, data):
    frames = [data.get_data_info(0)['video'].frame(index) for index in range(3)]
    with pytest.warns(UserWarning, match=r'the memory is left out.*segment_video'):
        images = inference_model(model, frames)
    alone = inference_model(model, [frames[2]])[0]
    torch.testing.assert_close(images[2].seg_logits.data, alone.seg_logits.data)


def logits(results):
    return [sample.seg_logits.data for sample in results]


def test_several_videos_are_segmented_in_turn_each_as_alone(model, data):
    """Also where they bear the same name and where the mode changes between frames."""
    videos = [[data.get_data_info(6 * v)['video'].frame(index) for index in range(4)] for v in range(2)]
    alone = [logits(segment_video(model, video)) for video in videos]
    first, second = (segment_video(model, video) for video in videos)
    mixed = [[next(first)], [next(second)]]
    mixed[0] += [next(first), next(first)]  # now the other video is at an earlier frame
    model.train().eval()
    mixed[1] += list(second)
    mixed[0] += list(first)
    for one, other in zip(mixed, alone, strict=True):
        torch.testing.assert_close(logits(one), other)


def test_a_test_loop_goes_on_behind_another_video(model, data):
    def test(indices):
        return [model.test_step(pseudo_collate([data[index]]))[0].seg_logits.data for index in indices]

    with torch.no_grad():
        expected = test(range(3))
        test(range(2))
        list(segment_video(model, [np.zeros((*SIZE, 3), np.uint8)] * 2))
        torch.testing.assert_close(test([2]), expected[2:])


def test_a_copied_or_saved_model_segments_as_the_first(model, data, tmp_path):
    frames = [data.get_data_info(0)['video'].frame(index) for index in range(3)]
    running = segment_video(model, frames)
    expected = [next(running).seg_logits.data]
    torch.save(model, tmp_path / 'model.pth')
    copies = [copy.deepcopy(model), torch.load(tmp_path / 'model.pth', weights_only=False)]
    expected += logits(running)
    for other in copies:
        torch.testing.assert_close(logits(segment_video(other, frames)), expected)


def test_a_model_in_training_mode_and_a_path_are_refused(model):
    with pytest.raises(TypeError, match=r"got the path 'a.mp4': give VideoFile\('a.mp4'\)"):
        next(segment_video(model, 'a.mp4'))
    with pytest.raises(ValueError, match=r'training mode: call model\.eval\(\)'):
        next(segment_video(model.train(), []))


@pytest.mark.parametrize('name', ['fcn_synthetic', 'fcn_memory_synthetic'])
@pytest.mark.filterwarnings('ignore')
def test_the_inferencer_takes_our_configs(name):
    path = ROOT / f'configs/adapters/mmseg/{name}.py'
    frames = [np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8) for seed in range(2)]
    inferencer = MMSegInferencer(str(path), device='cpu')
    found = inferencer(frames, show=False)['predictions']
    expected = inference_model(inferencer.model, frames)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other.pred_sem_seg.data[0].numpy())


@pytest.mark.parametrize('frame', [np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 3), np.float32)])
def test_a_wrong_frame_is_named(model, frame):
    with pytest.raises(ValueError, match=r"frame 0 of 'video': expected an array \(H, W, 3\) uint8 RGB"):
        next(segment_video(model, [frame]))


def test_a_model_without_a_pipeline_is_named(model):
    model.cfg = Config({})
    with pytest.raises(ValueError, match=r'expected model\.cfg with test_pipeline'):
        next(segment_video(model, []))
