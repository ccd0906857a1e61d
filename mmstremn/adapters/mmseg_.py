"""The former name of :mod:`mmstremn.adapters.mmseg`, which saved configs may still import."""

from mmstremn.adapters.mmseg import *  # noqa: F403
