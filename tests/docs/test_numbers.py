"""The numbers of the pages are those of the committed result files."""

import re

import pytest
from helpers.pages import Page, load, rounded
from helpers.runs import ROOT

LOGS, BOARDS = 'results/logs', 'results/leaderboards'
NAMES = {'J': 'J-Mean', 'F': 'F-Mean', 'J&F': 'J&F'}
# What a row of a table with the columns J, F and J&F is called, and its results: file and keys.
ROWS = {
    'docs/benchmarks.md': {
        'STReMN, learned selector, 5 slots': ('shipped_stremn_val10_480', 'metrics'),
        'FIFO, 5 slots': ('shipped_fifo_val10_480', 'metrics'),
        'STCN, which keeps every 5th frame': ('shipped_stcn_val10_480', 'metrics'),
        "STM's schedule, which grows: every 5th frame and the previous one": (
            'shipped_stm_val10_480',
            'metrics',
        ),
        'copy the first mask': ('copy_first_val10_480', 'metrics'),
        'learned selector': ('demo_metrics', 'results', 'stremn'),
        'FIFO': ('demo_metrics', 'results', 'fifo'),
    },
    'docs/model_card.md': {
        'these weights': ('shipped_stremn_val10_480', 'metrics'),
        'the same recipe with FIFO instead of the learned selector': ('shipped_fifo_val10_480', 'metrics'),
        "the same recipe with STCN's memory, which keeps every 5th frame": (
            'shipped_stcn_val10_480',
            'metrics',
        ),
        'these weights, every frame offered, all positions read': (
            'shipped_stremn_val10_480_every_frame',
            'metrics',
        ),
        'the same with FIFO': ('shipped_fifo_val10_480_every_frame', 'metrics'),
        'copy the first mask': ('copy_first_val10_480', 'metrics'),
    },
}
# A sentence with its numbers in groups, and for each group the file and the keys.
SENTENCES = [
    (
        'README.md',
        r'J&F (\.\d+) with the learned\s+selector and (\.\d+) with FIFO',
        [(f'{LOGS}/shipped_stremn_val10_480.json', 'metrics', 'J&F')],
        [(f'{LOGS}/shipped_fifo_val10_480.json', 'metrics', 'J&F')],
    ),
    (
        'README.md',
        r'Copying the first mask has (\.\d+)',
        [(f'{LOGS}/copy_first_val10_480.json', 'metrics', 'J&F')],
    ),
    (
        'docs/model_card.md',
        r'schoolgirls: 7 who look alike at 240 rows, \.\d+\) J&F is (\.\d+)',
        [(f'{LOGS}/shipped_stremn_multi.json', 'metrics', 'J&F')],
    ),
]


def value(path: str, *keys):
    """A number of a result file."""
    found = load(path)
    for key in keys:
        found = found[key]
    return found


def tables(page: str) -> list[tuple[str, dict[str, str]]]:
    """Name and cells of the rows of a page's tables that have the columns J, F and J&F."""
    rows, header = [], []
    for line in (ROOT / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')] if line.startswith('|') else []
        if {'J', 'F', 'J&F'} <= set(cells):
            header = cells
        elif not cells:
            header = []
        elif header and not set(line) <= set('|- '):
            rows.append((cells[0], dict(zip(header, cells, strict=True))))
    return rows


@pytest.mark.parametrize('page', ROWS)
def test_rows_of_tables(page):
    seen = set()
    for name, cells in tables(page):
        if name not in ROWS[page] or name in seen:
            continue
        seen.add(name)
        file, *keys = ROWS[page][name]
        for column, key in NAMES.items():
            assert rounded(cells[column], value(f'{LOGS}/{file}.json', *keys, key)), (page, name, column)
    assert seen == ROWS[page].keys()


@pytest.mark.parametrize(
    'page, pattern, sources', [(page, pattern, rest) for page, pattern, *rest in SENTENCES]
)
def test_sentences(page, pattern, sources):
    match = re.search(pattern, (ROOT / page).read_text())
    assert match, f'{page}: expected a sentence like {pattern}'
    for text, (source,) in zip(match.groups(), sources, strict=True):
        assert rounded(text, value(*source)), (page, text, source)


def means(board: str, name: str, measure: str) -> float | None:
    """The mean over seeds of a memory's measure in a leaderboard; None where there is none."""
    figures = [row[measure] for row in load(board)['rows'] if row['memory'] == name and measure in row]
    return sum(figures) / len(figures) if figures else None


PREDICTORS = {
    'PredRNN, ': 'predrnn',
    'ConvLSTM, ': 'convlstm',
    'PredRNN-V2, ': 'predrnn_v2',
    'STReMN with L2': 'stremn_residual',
    'E3D-LSTM, ': 'e3d_lstm',
    'STReMN as its': 'stremn',
}


@pytest.mark.parametrize('title', PREDICTORS)
def test_predicted_video(title):
    page, board = (ROOT / 'docs/benchmarks.md').read_text(), f'{BOARDS}/moving_digits/leaderboard.json'
    cells = re.search(rf'^\| {title}.*$', page, re.M)[0].split('|')
    for column, measure in {3: 'PSNR', 5: 'SSIM', 6: 'MAE'}.items():
        assert rounded(cells[column].strip(), means(board, PREDICTORS[title], measure)), (title, measure)


@pytest.mark.parametrize(
    'title, file',
    [
        ('`stremn_r18`, without', 'absence_without_head_val10_240'),
        ('`stremn_r18_presence`', 'absence_foreign_val10_240'),
    ],
)
def test_absence(title, file):
    page, result = (ROOT / 'docs/benchmarks.md').read_text(), load(f'{LOGS}/{file}.json')
    _, _, videos, alarms, score, _ = re.search(rf'^\| {title}.*$', page, re.M)[0].split('|')
    assert int(videos) == len(result['videos'])
    assert rounded(alarms.strip(), result['metrics']['false_alarms'])
    assert rounded(score.strip(), result['metrics']['J&F'])


@pytest.fixture
def page(tmp_path):
    file = tmp_path / 'page.md'
    file.write_text(
        '# ResNet-18\n\nIt has **.781** on\n5 videos, `k=20`, [10.5 MB](file_3.md).\n\n```bash\nrun 7\n```\n'
    )
    return Page(str(file))


def test_a_page_whose_numbers_are_all_accounted_for(page):
    page.says('It has # on', 0.7814757)
    page.says('`k=20`, [# MB]', 10.46)
    assert page.unaccounted() == ['# ResNet-18 It has .781 on 5']
    page.settings('5 videos')
    assert not page.unaccounted()


@pytest.mark.parametrize(
    'sentence, values',
    [('It has # on', [0.7826]), ('It had # on', [0.7814]), ('#', [0.781]), ('It has # on', [0.781, 5])],
)
def test_what_a_page_does_not_say_is_seen(page, sentence, values):
    with pytest.raises(AssertionError, match=r'page\.md'):
        page.says(sentence, values)


def test_what_no_file_holds_must_be_said(page):
    with pytest.raises(AssertionError, match='no result file'):
        page.unrecorded('5 videos')
    with pytest.raises(AssertionError, match='not found: 6 videos'):
        page.settings('6 videos')


def test_a_wrong_number_is_seen():
    assert rounded('.781', 0.7814757) and not rounded('.782', 0.7814757) and not rounded('.78', 0.7899)
