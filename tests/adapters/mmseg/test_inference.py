"""A segmentor with a memory on one's own video, beside mmsegmentation's own calls."""

import numpy as np
import pytest
import torch
from helpers.mmseg_cases import FCN, SIZE, build_data, build_model, remember
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.apis import inference_model

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


def test_a_video_is_segmented_as_the_test_loop_does(model, data):
    with torch.no_grad():
        expected = [model.test_step(pseudo_collate([data[index]]))[0] for index in range(4)]
    video = Frames(data.get_data_info(0)['video'], 4)
    results = list(segment_video(model, video))
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data)
    arrays = [video.frame(index) for index in range(4)]
    for one, other in zip(segment_video(model, iter(arrays), 'again'), expected, strict=True):
        torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data)


def test_images_leave_the_memory_out_and_it_is_said(model, data):
    frames = [data.get_data_info(0)['video'].frame(index) for index in range(3)]
    with pytest.warns(UserWarning, match=r'the memory is left out.*segment_video'):
        images = inference_model(model, frames)
    alone = inference_model(model, [frames[2]])[0]
    torch.testing.assert_close(images[2].seg_logits.data, alone.seg_logits.data)


@pytest.mark.parametrize('frame', [np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 3), np.float32)])
def test_a_wrong_frame_is_named(model, frame):
    with pytest.raises(ValueError, match=r"frame 0 of 'video': expected an array \(H, W, 3\) uint8 RGB"):
        next(segment_video(model, [frame]))


def test_a_model_without_a_pipeline_is_named(model):
    model.cfg = Config({})
    with pytest.raises(ValueError, match=r'expected model\.cfg with test_pipeline'):
        next(segment_video(model, []))
