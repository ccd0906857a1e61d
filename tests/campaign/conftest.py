"""Campaigns: many seeded cases of one kind. ``make test`` runs a slice, ``make test-all`` all of them.

The size of a campaign is that of the environment variable MMSTREMN_CAMPAIGN: ``slice`` (default) or ``full``.
Hypothesis derives its cases from the test itself, so every run tries the same ones.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

FULL = os.environ.get('MMSTREMN_CAMPAIGN', 'slice') == 'full'
COMMON = dict(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile('slice', max_examples=30, **COMMON)
settings.register_profile('full', max_examples=3000, **COMMON)
settings.load_profile('full' if FULL else 'slice')


@pytest.fixture(scope='session')
def size():
    """``size(a, b)``: a in a slice, b in the whole campaign."""
    return lambda some, many: many if FULL else some
