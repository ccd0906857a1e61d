"""The former name of :mod:`mmstremn.checkpoints.convert`, which scripts may still import."""

from mmstremn.checkpoints.convert import *  # noqa: F403
