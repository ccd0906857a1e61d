"""The former name of :mod:`mmstremn.adapters.mmdet`, which saved configs may still import."""

from mmstremn.adapters.mmdet import *  # noqa: F403
