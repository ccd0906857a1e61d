"""Splits of a collection of videos by their names."""

from hashlib import blake2b

from mmstremn.datasets.prediction.base import SPLITS


def split_of(name: str, dev: float, test: float) -> str:
    """The split of a video by the hash of its name: the same on every machine, however many other videos
    there are.

    Args:
        name: The video.
        dev, test: The shares of videos that 'dev' and 'test' get, about.
    """
    digest = blake2b(name.encode(), digest_size=8).digest()
    number = int.from_bytes(digest, 'big') / 2**64
    train_end = 1 - dev - test
    return SPLITS[(number >= train_end) + (number >= train_end + dev)]
