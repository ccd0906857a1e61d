"""Every committed result is named somewhere, and every study has its parts."""

import json
import re
from fnmatch import fnmatch

import pytest
from helpers.runs import ROOT

STUDIES = sorted(path.parent for path in (ROOT / 'studies').glob('*/README.md'))


def test_every_log_is_listed_and_every_listed_log_is_there():
    page = (ROOT / 'results/README.md').read_text()
    patterns = [name for name in re.findall(r'`([\w*.]+)`', page) if '_' in name or name.endswith('.json')]
    patterns = [pattern for pattern in patterns if pattern != 'NAME.json']
    logs = [path.name for path in (ROOT / 'results/logs').iterdir()]
    assert [log for log in logs if not any(fnmatch(log, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(log, pattern) for log in logs)] == []


@pytest.mark.parametrize('study', STUDIES, ids=lambda path: path.name)
def test_a_study_has_a_question_a_command_and_what_it_found(study):
    page = (study / 'README.md').read_text()
    assert page.startswith('# ')
    assert f']({study.name}/README.md)' in (ROOT / 'studies/README.md').read_text()
    for name in re.findall(r'\]\((\w+\.\w+)\)', page):
        assert (study / name).is_file(), name
    for run in study.glob('run.py'):
        assert f'python {run.relative_to(ROOT)}' in page
    for result in study.glob('*.json'):
        assert json.loads(result.read_text())


def test_every_board_and_figure_of_a_study_is_shown():
    for study in STUDIES:
        page = (study / 'README.md').read_text()
        for path in [*study.glob('*.png'), *study.glob('*.jpg'), *study.glob('leaderboard.md')]:
            assert f']({path.name})' in page, path
