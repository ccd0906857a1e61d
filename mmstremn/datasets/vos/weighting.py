"""Several collections drawn from by weight, each sample a function of its request alone."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.registry import DATASETS, arguments_of, check_names, find


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


def build_inner(outer: str, config: dict, common: Mapping[str, Any], own: Sequence[str]) -> Any:
    """Build a data set that is part of another one.

    Args:
        outer: Name of the other one.
        config: Of the part.
        common: Arguments that the other one passes on; those of the config win.
        own: Names of those that it does not, to find what was misspelt.

    Raises:
        TypeError: The part has no argument of a name in ``common``.
    """
    kind = config.get('type')
    takes = arguments_of(find(kind, DATASETS) if isinstance(kind, str) else kind)
    if takes is not None:
        check_names(outer, common, [*own, *takes])
    return DATASETS.build({**common, **config})


@DATASETS.register_module()
class WeightedVOSDataset(Dataset):
    """Training clips of several data sets as one: DAVIS five times, YouTube-VOS once, and so on.

    Args:
        datasets: Configs.
        weights: How often an epoch each sample of each data set is drawn; once if None.
        **common: Arguments of all data sets that they do not name themselves.

    Raises:
        ValueError: There are no data sets, or not as many weights as data sets.
        TypeError: Neither it nor one of the data sets has an argument of a name in ``common``.
    """

    def __init__(self, datasets: Sequence[dict], weights: Sequence[float] | None = None, **common: Any):
        if not datasets:
            raise ValueError('WeightedVOSDataset.datasets: expected at least one data set')
        weights = [1] * len(datasets) if weights is None else weights
        if len(weights) != len(datasets):
            raise ValueError(
                f'WeightedVOSDataset.weights: expected {len(datasets)}, one a data set, got {list(weights)}'
            )
        self.datasets: list[BaseDataset] = [
            build_inner('WeightedVOSDataset', config, common, ['datasets', 'weights']) for config in datasets
        ]
        self.index = WeightedIndex([len(dataset) for dataset in self.datasets], weights)
        self.metainfo = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = SampleRequest(int(request), int(request))
        which, place = self.index.locate(request)
        return self.datasets[which][request._replace(index=place)]
