"""A sampler that can start at any iteration: a sample depends on (seed, iteration, place in the batch)
alone."""

from collections.abc import Iterator, Sized
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmstremn.registry import DATA_SAMPLERS


class SampleRequest(NamedTuple):
    """What a training data set is asked for.

    Attributes:
        index: Which video or image.
        seed: Seeds everything random about the sample.
        max_skip: The largest step between frames of the clip; None leaves it to the data set.
    """

    index: int
    seed: int
    max_skip: int | None = None


@DATA_SAMPLERS.register_module()
class IterationSampler(Sampler):
    """Endless shuffled requests, in an order that is a function of ``seed`` and the position alone.

    Position p = iteration * (batch_size * world) + rank * batch_size + place in the batch, so the batches of
    all ranks together are one process's batch of their union, and a resumed run sets ``start`` instead of
    replaying.

    Args:
        dataset: Only its length is used.
        seed: Shared by all ranks; drawn and synchronised if None.
        batch_size: Samples a rank and iteration (the loader's ``batch_size``; the train loop fills it in).

    Attributes:
        start: The iteration to begin with.
        skip_schedule: Pairs of first iteration and largest skip, ascending by iteration.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, batch_size: int = 1):
        self.rank, self.world = get_dist_info()
        self.length = len(dataset)
        if self.length == 0:
            raise ValueError('the data set is empty, expected at least one video')
        self.seed = sync_random_seed() if seed is None else seed
        self.batch_size = batch_size
        self.start = 0
        self.skip_schedule: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[SampleRequest]:
        iteration, order, epoch = self.start, None, None
        while True:
            first = (iteration * self.world + self.rank) * self.batch_size
            for position in range(first, first + self.batch_size):
                if epoch != position // self.length:
                    epoch = position // self.length
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
                seed = int(np.random.SeedSequence((self.seed, position)).generate_state(1)[0])
                yield SampleRequest(int(order[position % self.length]), seed, self.max_skip(iteration))
            iteration += 1

    def max_skip(self, iteration: int) -> int | None:
        """The largest skip that ``skip_schedule`` gives an iteration; None before its first."""
        skip = None
        for first, value in self.skip_schedule:
            if iteration >= first:
                skip = value
        return skip

    def __len__(self) -> int:
        return self.length
