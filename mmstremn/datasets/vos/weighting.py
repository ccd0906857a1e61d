"""Several collections drawn from by weight, each sample a function of its request alone."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.registry import DATASETS


class WeightedIndex:
    """An index over several collections in which every sample of one is drawn ``weight`` times an epoch.

    Where a weight is no whole number, which samples are drawn once more is chosen by the request's seed.

    Args:
        lengths: Samples of each collection.
        weights: One each, above 0.

    Raises:
        ValueError: A weight is not above 0, or so small that the collection is never drawn.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float]):
        self.lengths = list(lengths)
        self.drawn = [round(length * weight) for length, weight in zip(lengths, weights, strict=True)]
        for length, weight, drawn in zip(lengths, weights, self.drawn, strict=True):
            if length and drawn < 1:
                raise ValueError(
                    f'weight {weight} of {length} samples: expected one that draws at least one of them an '
                    'epoch'
                )
        self.ends = list(accumulate(self.drawn))

    def __len__(self) -> int:
        return self.ends[-1]

    def locate(self, request: SampleRequest) -> tuple[int, int]:
        """The collection and the place in it that a request asks for."""
        which = bisect_right(self.ends, request.index)
        offset, length = request.index - (self.ends[which] - self.drawn[which]), self.lengths[which]
        if offset < self.drawn[which] // length * length:
            return which, offset % length
        return which, int(np.random.default_rng(request.seed).integers(length))


@DATASETS.register_module()
class WeightedVOSDataset(Dataset):
    """Training clips of several data sets as one: DAVIS five times, YouTube-VOS once, and so on.

    Args:
        datasets: Configs.
        weights: How often an epoch each sample of each data set is drawn; once if None.
        **common: Arguments of all data sets that they do not name themselves.

    Raises:
        ValueError: There are no data sets, or not as many weights as data sets.
    """

    def __init__(self, datasets: Sequence[dict], weights: Sequence[float] | None = None, **common: Any):
        if not datasets:
            raise ValueError('WeightedVOSDataset.datasets: expected at least one data set')
        weights = [1] * len(datasets) if weights is None else weights
        if len(weights) != len(datasets):
            raise ValueError(
                f'WeightedVOSDataset.weights: expected {len(datasets)}, one a data set, got {list(weights)}'
            )
        self.datasets: list[BaseDataset] = [DATASETS.build({**common, **config}) for config in datasets]
        self.index = WeightedIndex([len(dataset) for dataset in self.datasets], weights)
        self.metainfo = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = SampleRequest(int(request), int(request))
        which, place = self.index.locate(request)
        return self.datasets[which][request._replace(index=place)]
