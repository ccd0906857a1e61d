"""predict_video: what it reports of a stream."""

from types import SimpleNamespace

import numpy as np
import torch

from mmstremn.models.segmentation.inference import predict_video
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import Video


class Ones(Video):
    name, num_frames, size = 'ones', 3, (4, 5)

    def frame(self, index):
        return np.zeros((4, 5, 3), np.uint8)

    def mask(self, index):
        return np.ones((4, 5), np.uint8)


class ShrinkingStream:
    """Holds most after its second frame."""

    state, sizes = None, [10, 30, 20]

    def __init__(self):
        self.sizes = iter(self.sizes)

    def step(self, frame, masks=None):
        self.nbytes = next(self.sizes)
        return torch.ones(4, 5, dtype=torch.uint8)


def test_state_bytes_are_the_most_of_any_frame():
    sample = VOSDataSample()
    predict_video(SimpleNamespace(new_stream=lambda seed: ShrinkingStream()), Ones(), sample)
    assert sample.state_bytes == 30
