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
    frames = frames[:, observed - 1 :].float().cpu()  # waits for the device
    seconds = (time.perf_counter() - begin) / inputs[:, :, 0, 0, 0].numel()
    for sample, predicted, true in zip(data_samples, frames, inputs[:, observed:], strict=True):
        sample.pred_frames = predicted
        sample.true_frames = (true * 255).round().to(torch.uint8).cpu()
        sample.set_metainfo(dict(frame_seconds=seconds, state_bytes=max(sizes) // len(inputs)))
    return data_samples
