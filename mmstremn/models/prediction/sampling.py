"""How often a predictor sees true frames in training, as a function of the iteration alone."""

import math
from typing import Protocol

import torch
from torch import Tensor

from mmstremn.registry import MODELS
from mmstremn.structures import PredictionDataSample


class Sampling(Protocol):
    """How often a predictor sees true frames."""

    def shares(self, iteration: int) -> tuple[float, float]:
        """The probability that an observed frame, and that a later one, is the true one."""


@MODELS.register_module()
class ScheduledSampling:
    """Observed frames are true; later ones with a probability that falls linearly from 1 to 0 (Bengio et al.,
    NeurIPS 2015).

    Args:
        end_iter: First iteration with 0; a fall of 2e-5 an iteration is 50,000 (PredRNN on Moving MNIST).
    """

    def __init__(self, end_iter: int = 50000):
        self.end_iter = end_iter

    def shares(self, iteration: int) -> tuple[float, float]:
        """The probability that an observed frame, and that a later one, is the true one."""
        return 1.0, max(1 - iteration / self.end_iter, 0.0)


@MODELS.register_module()
class ReverseScheduledSampling:
    """Observed frames too are predictions at first (PredRNN-V2, Wang et al., TPAMI 2022, section 3.4).

    With observed frames the probability of the true one is .5 until ``begin_iter``, then 1 - .5 exp(-(i -
    begin) / rate), and 1 from ``end_iter`` on; with later frames it is .5 until ``begin_iter`` and falls
    linearly to 0 at ``end_iter``. Checked against thuml/predrnn-pytorch run.py (Moving MNIST: 25000, 50000,
    2500; KTH: 5000, 50000, 2000).

    Args:
        begin_iter: First iteration of the change.
        end_iter: Last iteration of the change.
        rate: Iterations.
    """

    def __init__(self, begin_iter: int = 25000, end_iter: int = 50000, rate: float = 2500):
        self.begin_iter, self.end_iter, self.rate = begin_iter, end_iter, rate

    def shares(self, iteration: int) -> tuple[float, float]:
        """The probability that an observed frame, and that a later one, is the true one."""
        if iteration < self.begin_iter:
            return 0.5, 0.5
        if iteration >= self.end_iter:
            return 1.0, 0.0
        since = iteration - self.begin_iter
        return 1 - 0.5 * math.exp(-since / self.rate), 0.5 * (1 - since / (self.end_iter - self.begin_iter))


def draw_given(
    sampling: Sampling | None, inputs: Tensor, data_samples: list[PredictionDataSample], iteration: int
) -> list[bool | Tensor]:
    """For each frame of clips (B, T, ...) whether the video goes on from the true one, in all samples or in
    those of a (B,) bool."""
    length = inputs.shape[1]
    if sampling is None:
        return [True] * length
    observed, later = sampling.shares(iteration)
    shares = torch.tensor(
        [1.0] + [observed if t < data_samples[0].input_frames else later for t in range(1, length)]
    )
    draws = torch.stack([torch.rand(length, generator=_generator(sample)) for sample in data_samples])
    return list((draws < shares).T.to(inputs.device))


def _generator(sample: PredictionDataSample) -> torch.Generator | None:
    """That of a sample, so that what it sees does not depend on the batch; None: the global one."""
    seed = sample.get('sample_seed', None)
    return None if seed is None else torch.Generator().manual_seed(int(seed) % 2**63)
