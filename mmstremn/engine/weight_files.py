"""The former name of :mod:`mmstremn.checkpoints.weight_files`, which scripts may still import."""

from mmstremn.checkpoints.weight_files import *  # noqa: F403
