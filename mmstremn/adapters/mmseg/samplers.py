"""Which frames are loaded together, and on which rank: clips for training, whole videos in order for
testing."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmstremn.datasets.samplers import IterationSampler
from mmstremn.registry import DATA_SAMPLERS


class FrameRequest(NamedTuple):
    """What a video data set is asked for in training.

    Attributes:
        index: Which frame of the data set.
        clip_seed: The same for all frames of a clip; seeds everything random about them.
    """

    index: int
    clip_seed: int


class VideoFrames(NamedTuple):
    """Where a data set holds a video.

    Attributes:
        name: Of the video.
        start: Index of its first frame.
        annotated: For each of its frames whether it has labels.
    """

    name: str
    start: int
    annotated: tuple[bool, ...]


def videos_of(dataset, user: str) -> list[VideoFrames]:
    """The videos of a data set.

    Raises:
        TypeError: The data set knows no videos.
        ValueError: It holds none.
    """
    if not hasattr(dataset, 'videos'):
        raise TypeError(
            f"{user} needs a data set with 'videos', such as mmstremn.VSPWDataset or another "
            'VideoSegDataset, got '
            f'{type(dataset).__name__}'
        )
    if not dataset.videos:
        raise ValueError(f'{user}: the data set holds no video')
    return dataset.videos


@DATA_SAMPLERS.register_module()
class VideoClipBatchSampler(Sampler):
    """Endless batches of clips: ``batch_size`` clips of ``clip_length`` frames of one video each.

    The data loader's ``batch_size`` counts clips, so a batch has ``batch_size * clip_length`` frames, clip by
    clip, loaded by one worker. A clip ends with a frame that has labels. Every pass visits every video once,
    in a new order; what is drawn depends on seed, iteration, rank and place alone. Meant for loops that count
    iterations, as is mmengine's ``InfiniteSampler``.

    Args:
        sampler: The loader's sampler, of which only data set and seed are used.
        batch_size: Clips a rank and iteration.
        clip_length: T.
        max_skip: The step between the frames of a clip is drawn from 1..``max_skip``, where the video is long
            enough.
        drop_last: Has no meaning for endless batches; the data loader's signature asks for it.

    Raises:
        ValueError: A video has no clip of this length; the message names it.
    """

    def __init__(
        self, sampler, batch_size: int, clip_length: int = 4, max_skip: int = 1, drop_last: bool = True
    ):
        if min(clip_length, max_skip) < 1:
            raise ValueError(f'clip_length and max_skip must be at least 1, got {clip_length} and {max_skip}')
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        self.clip_length, self.max_skip = clip_length, max_skip
        self.videos = videos_of(sampler.dataset, 'VideoClipBatchSampler')
        for video in self.videos:
            if not any(video.annotated[clip_length - 1 :]):
                raise ValueError(
                    f"video '{video.name}': expected a clip of {clip_length} frames that ends with a "
                    'labelled one; it has '
                    f'{len(video.annotated)} frames, {sum(video.annotated)} of them labelled'
                )
        seed = getattr(sampler, 'seed', None)
        self.requests = IterationSampler(
            self.videos, sync_random_seed() if seed is None else seed, batch_size
        )

    def __iter__(self) -> Iterator[list[FrameRequest]]:
        batch = []
        for request in self.requests:
            batch.extend(self._clip(self.videos[request.index], request.seed))
            if len(batch) == self.batch_size * self.clip_length:
                yield batch
                batch = []

    def __len__(self) -> int:
        """Batches that show as many clips as there are videos."""
        return -(-len(self.videos) // (self.batch_size * self.requests.world))

    def _clip(self, video: VideoFrames, seed: int) -> list[FrameRequest]:
        rng = np.random.default_rng(seed)
        steps, labelled = self.clip_length - 1, np.flatnonzero(video.annotated)
        most = min(self.max_skip, labelled[-1] // steps) if steps else 1
        skip = rng.integers(1, most + 1)
        last = rng.choice(labelled[labelled >= steps * skip])
        return [FrameRequest(int(video.start + last - step * skip), seed) for step in range(steps, -1, -1)]


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """Every video in order, all of it on one rank.

    Videos are given to the rank that has the fewest frames so far, longest first. Ranks may get different
    numbers of frames; that is no harm in testing, where they meet only when results are collected.

    Args:
        dataset: With ``videos``.
        seed: Not used; mmengine gives one to every sampler.
    """

    def __init__(self, dataset, seed: int | None = None):
        self.dataset = dataset
        rank, world = get_dist_info()
        videos = videos_of(dataset, 'VideoSampler')
        shares = [[] for _ in range(world)]
        loads = [0] * world
        for place in sorted(range(len(videos)), key=lambda place: -len(videos[place].annotated)):
            least = loads.index(min(loads))
            shares[least].append(place)
            loads[least] += len(videos[place].annotated)
        mine = [videos[place] for place in sorted(shares[rank])]
        self.indices = [
            index for video in mine for index in range(video.start, video.start + len(video.annotated))
        ]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
