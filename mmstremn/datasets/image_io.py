"""The former place of :mod:`mmstremn.datasets.io.images`."""

from mmstremn.datasets.io.images import read_rgb

__all__ = ['read_rgb']
