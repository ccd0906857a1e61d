"""What the bar of the commands shows."""

import io

import pytest
from rich.console import Console

from mmstremn.engine.progress import StagedProgress


@pytest.mark.parametrize('is_terminal', [False, True])
def test_names_of_stages_are_shown_as_they_are(is_terminal):
    output = io.StringIO()
    progress = StagedProgress(Console(file=output, force_terminal=is_terminal, width=100, no_color=True))
    with progress.running(1), progress.stage('take [final] :car:'):
        progress._bar.refresh()
    assert 'take [final] :car:' in output.getvalue()
