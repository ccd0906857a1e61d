"""pytest plugin of ``tests/mutate.py``: the tests that were fastest when mutmut timed them run first.

So a mutant that a fast test notices costs no slow one.
"""

import json
import math
from pathlib import Path

TIMES = Path('mutmut-stats.json')  # mutmut runs the tests in its folder of mutants


def pytest_collection_modifyitems(items) -> None:
    if TIMES.is_file():
        seconds = json.loads(TIMES.read_text())['duration_by_test']
        items.sort(key=lambda item: seconds.get(item.nodeid, math.inf))
