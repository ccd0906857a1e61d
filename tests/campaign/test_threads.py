"""Streams that share a model: interleaved, and one a thread."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.vos_cases import SquaresVideo, tiny_model

STREAMS = 4


@pytest.fixture(scope='module')
def model():
    return tiny_model(dict(type='SlotMemory', num_slots=2)).eval()


def videos(length):
    return [SquaresVideo(length, appear=(0, 2), seed=seed) for seed in range(STREAMS)]


def alone(model, video):
    """The probabilities of a video's frames."""
    stream, outputs = model.start(video.frame(0), video.mask(0)), []
    for index in range(1, video.num_frames):
        outputs.append(stream.probabilities(video.frame(index), video.mask(index) if index == 2 else None))
    return outputs


def test_a_thread_for_each_stream(model, size):
    all_videos = videos(size(12, 200))
    expected = [alone(model, video) for video in all_videos]
    with ThreadPoolExecutor(STREAMS) as pool:
        found = list(pool.map(lambda video: alone(model, video), all_videos))
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_interleaved_streams(model, size):
    all_videos = videos(size(8, 100))
    expected = [alone(model, video) for video in all_videos]
    streams = [model.start(video.frame(0), video.mask(0)) for video in all_videos]
    for index in range(1, all_videos[0].num_frames):
        for video, stream, outputs in zip(all_videos, streams, expected, strict=True):
            masks = video.mask(index) if index == 2 else None
            assert torch.equal(stream.probabilities(video.frame(index), masks), outputs[index - 1])
