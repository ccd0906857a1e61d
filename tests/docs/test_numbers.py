"""The numbers of the pages are those of the committed result files."""

import json
import re
import statistics
from functools import cache

import pytest
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
    (
        'docs/questions.md',
        r'learned (\.\d+) ± \.\d+, READMem (\.\d+) ± \.\d+, random (\.\d+)',
        [('mean', 'gumbel')],
        [('mean', 'readmem')],
        [('mean', 'random')],
    ),
]


@cache
def load(path: str):
    return json.loads((ROOT / path).read_text())


def value(path: str, *keys):
    """A number of a result file; ``mean`` stands for the mean over seeds of a memory in the comparison of
    all."""
    if path == 'mean':
        rows = [
            row
            for row in load(f'{BOARDS}/long_memories/leaderboard.json')['rows']
            if row['memory'] == keys[0]
        ]
        return sum(row['J&F'] for row in rows) / len(rows)
    found = load(path)
    for key in keys:
        found = found[key]
    return found


def rounded(text: str, number: float) -> bool:
    """Whether a number is written with the decimals that a page gives."""
    decimals = len(text.rpartition('.')[2])
    return float(text) == pytest.approx(round(number, decimals), abs=1e-9)


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


def study_cells() -> list[tuple[str, str, str, str]]:
    """Page, memory, measure and text of the cells of studies whose row begins with a memory of their
    leaderboard."""
    found = []
    for page in sorted((ROOT / 'studies').glob('*/README.md')):
        if not (page.parent / 'leaderboard.json').is_file():
            continue
        header: list[str] = []
        for line in page.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip('|').split('|')] if line.startswith('|') else []
            if header and cells and (name := re.match(r'`([\w+.-]+)`', cells[0])):
                pairs = zip(header, cells, strict=False)
                found += [(str(page.relative_to(ROOT)), name[1], measure, text) for measure, text in pairs]
            header = (header or cells) if cells else []
    return [row for row in found if row[2] in MEASURES and re.fullmatch(r'\d*\.\d+', row[3])]


MEASURES = ('J', 'F', 'J&F', 'PSNR', 'SSIM', 'MAE', 'MSE')
STUDY_CELLS = study_cells()


def test_tables_of_studies():
    wrong = []
    for page, name, measure, text in STUDY_CELLS:
        number = means(str((ROOT / page).with_name('leaderboard.json').relative_to(ROOT)), name, measure)
        if number is not None and not rounded(text, number):
            wrong.append((page, name, measure, text, number))
    assert not wrong
    assert len(STUDY_CELLS) >= 20


# What docs/questions.md calls a memory in front of its J&F with the spread over three seeds.
SPREADS = {
    r'learned': 'gumbel',
    r'READMem': 'readmem',
    r'random': 'random',
    r'LRU': 'lru',
    r'FIFO': 'fifo',
    r'FIFO\s+offered every 5th frame': 'fifo_every_5th',
    r'the first and the previous frame alone, as in AOT,': 'aot',
    r'`BlendedMemory` \(the mean of all frames\) has': 'blended',
}


@pytest.mark.parametrize('name', SPREADS)
def test_means_and_spreads_of_the_comparison_of_all_memories(name):
    text = (ROOT / 'docs/questions.md').read_text()
    rows = load(f'{BOARDS}/long_memories/leaderboard.json')['rows']
    figures = [row['J&F'] for row in rows if row['memory'] == SPREADS[name]]
    found = re.findall(rf'{name}\s+(\.\d+) ± (\.\d+)', text)
    assert found
    for mean, spread in found:
        assert rounded(mean, statistics.mean(figures)) and rounded(spread, statistics.stdev(figures)), name


def test_gradients_of_a_choice():
    text = (ROOT / 'docs/questions.md').read_text()
    methods = load('studies/selector_gradient/result.json')['summary']['methods']
    found = re.findall(r'(\.\d+) ± (\.\d+)', text[text.index('The gradient was noise') :])[:2]
    for (mean, error), method in zip(found, ('blending', 'history'), strict=True):
        figures = methods[method]['correlation']
        assert rounded(mean, figures['mean']) and rounded(error, figures['error']), method


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


def test_a_wrong_number_is_seen():
    assert rounded('.781', 0.7814757) and not rounded('.782', 0.7814757) and not rounded('.78', 0.7899)
