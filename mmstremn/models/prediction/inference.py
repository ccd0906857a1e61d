"""Predicting what follows the observed frames of a batch of clips."""

import time
from typing import Any

import torch
from torch import Tensor

from mmstremn.structures import PredictionDataSample


def predict_samples(
    model: Any, inputs: Tensor, data_samples: list[PredictionDataSample]
) -> list[PredictionDataSample]:
    """Predict what follows the observed frames; fills fields and metainfo, see the data sample.

    Args:
        model: A VideoPredictor.
        inputs: (B, T, C, H, W) in 0..1; the frames that follow are compared with, not looked at.
        data_samples: B.
    """
    begin, sizes, observed = time.perf_counter(), [0], data_samples[0].input_frames
    given: list[bool | Tensor] = [index < observed for index in range(inputs.shape[1])]
    frames = model.predict_clip(inputs, given, data_samples, lambda state: sizes.append(state.nbytes))
    return fill_samples(data_samples, inputs, frames[:, observed - 1 :], begin, max(sizes) // len(inputs))


def fill_samples(
    data_samples: list[PredictionDataSample],
    inputs: Tensor,
    predicted: Tensor,
    begin: float,
    state_bytes: int = 0,
) -> list[PredictionDataSample]:
    """Put what was predicted into the samples, with the true frames and what it cost.

    Args:
        data_samples: B.
        inputs: (B, T, C, H, W) in 0..1, the whole clips.
        predicted: (B, T', C, H, W), of their last frames.
        begin: When the prediction began, of ``time.perf_counter``.
        state_bytes: Most bytes of a memory's state, for one clip.
    """
    predicted = predicted.float().cpu()  # waits for the device
    seconds = (time.perf_counter() - begin) / inputs[:, :, 0, 0, 0].numel()
    for sample, frames, true in zip(data_samples, predicted, inputs[:, -predicted.shape[1] :], strict=True):
        sample.pred_frames = frames
        sample.true_frames = (true * 255).round().to(torch.uint8).cpu()
        sample.set_metainfo(dict(frame_seconds=seconds, state_bytes=state_bytes))
    return data_samples
