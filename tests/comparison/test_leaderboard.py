"""The tables of results, the check of the model index, and the page of all models."""

import copy
import json
import runpy

import pytest
import yaml
from helpers.runs import ROOT
from mmengine.config import Config

from mmstremn.comparison.leaderboard import comparison_columns, html, markdown, summarise
from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.metafiles import read_index
from mmstremn.engine.launch import set_max_iters
from mmstremn.registry import build

main, model_zoo = (
    runpy.run_path(str(ROOT / f'tools/analysis_tools/{name}.py'))['main']
    for name in ('leaderboard', 'model_zoo')
)


def row(memory, j, f, **figures):
    figures = (
        dict(ms_per_frame=10.0, peak_memory_mib=500.0, state_bytes=1_234_000, training_seconds=60.0) | figures
    )
    return {'memory': memory, 'J': j, 'F': f, 'J&F': (j + f) / 2, **figures}


ROWS = [
    row('worse', 0.2, 0.2),
    row('best', 0.5, 0.3, ms_per_frame=30.0, training_seconds=30.0),
    row('best', 0.7, 0.5, ms_per_frame=10.0, peak_memory_mib=700.0),
    row('best', 0.6, 0.4, ms_per_frame=11.0, state_bytes=2_000_000),
]


def test_summary_is_sorted_and_has_mean_spread_and_number_of_seeds():
    best, worse = summarise(ROWS)
    assert (best['memory'], best['seeds'], worse['memory'], worse['seeds']) == ('best', 3, 'worse', 1)
    assert [best[key] for key in ('J', 'F', 'J&F')] == pytest.approx([0.6, 0.4, 0.5])
    assert best['spread'] == pytest.approx(0.1)
    assert worse['spread'] is None
    figures = ('ms_per_frame', 'peak_memory_mib', 'state_bytes', 'training_seconds')
    assert [best[key] for key in figures] == [11.0, 700.0, 2_000_000, 50.0]


def test_markdown_gives_percent_and_a_dash_for_what_is_missing():
    lines = markdown(summarise(ROWS), comparison_columns(ROWS)).splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == [
        'memory',
        'J',
        'F',
        'J&F',
        '±',
        'seeds',
        'ms a frame',
        'peak MiB',
        'state MB',
        'train s',
    ]
    assert cells[2] == ['best', '60.0', '40.0', '50.0', '10.0', '3', '11.0', '700', '2.000', '50']
    assert cells[3][:6] == ['worse', '20.0', '20.0', '20.0', '-', '1']


def test_html_is_one_small_file_that_loads_nothing():
    page = html(summarise(ROWS), comparison_columns(ROWS), 'Title')
    assert len(page.encode()) < 1.1e6
    assert 'best' in page and 'J&amp;F' in page
    assert not any(tag in page for tag in ('src="http', 'href="http', "from 'http", 'from "http'))


def test_memories_of_the_repository_build():
    memories = load_memories(str(ROOT / 'configs/_base_/memories.py'))
    assert {
        'gumbel',
        'fifo',
        'lifo',
        'random',
        'lru',
        'lfu',
        'most_similar',
        'stm',
        'stcn',
    } <= memories.keys()
    assert choose_memories(memories, ['all']) == memories
    assert list(choose_memories(memories, ['stm', 'fifo'])) == ['stm', 'fifo']
    for entry in memories.values():
        build(copy.deepcopy(entry), key_channels=8, value_channels=16, decoder_channels=16)


def test_schedules_become_shorter_with_the_training():
    schedule = [dict(type='LinearLR', begin=0, end=20), dict(type='MultiStepLR', milestones=[80, 95])]
    cfg = Config(dict(train_cfg=dict(max_iters=100), param_scheduler=schedule))
    set_max_iters(cfg, 10)
    assert (cfg.param_scheduler[0].end, cfg.param_scheduler[1].milestones) == (2, [8, 10])


# The model index.


def test_index_of_the_repository_is_in_order(capsys):
    assert main(['--check']) == 0
    assert 'each with config, log and checkpoint hash' in capsys.readouterr().out


def test_index_is_printed_and_written(tmp_path, capsys):
    assert main([]) == 0
    assert 'stremn_r18_video' in capsys.readouterr().out
    for suffix in ('json', 'md', 'html'):
        assert main(['--out', str(tmp_path / f'table.{suffix}')]) == 0
    rows = json.loads((tmp_path / 'table.json').read_text())
    result = next(row for row in rows if row['model'] == 'stremn_synthetic')
    models = yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']
    expected = next(model for model in models if model['Name'] == 'stremn_synthetic')['Results'][0][
        'Metrics'
    ]['J']
    assert (result['J'], result['config'], len(result['checkpoint_sha256'])) == (
        expected,
        'configs/stremn_synthetic.py',
        64,
    )
    assert all(
        f'{100 * expected:.1f}' in (tmp_path / f'table.{suffix}').read_text() for suffix in ('md', 'html')
    )
    with pytest.raises(SystemExit):
        main(['--out', 'table.txt'])


def test_model_zoo_is_that_of_the_metafiles(tmp_path, capsys):
    """Where it fails: `python tools/analysis_tools/model_zoo.py --out docs/model_zoo.md`."""
    assert model_zoo([]) == 0
    printed = capsys.readouterr().out
    assert (ROOT / 'docs/model_zoo.md').read_text() == printed
    assert model_zoo(['--out', str(tmp_path / 'zoo.md')]) == 0
    assert (tmp_path / 'zoo.md').read_text() == printed


def test_model_zoo_of_another_index(tmp_path, capsys):
    index = write_index(tmp_path, METAFILE)
    assert model_zoo(['--index', str(index)]) == 0
    lines = [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert '| [model](../file) | C | 10.0 | 30.0 | 20.0 | [file](../file) |' in lines
    assert '- `.`: [untrained](../file)' in lines
    broken = copy.deepcopy(METAFILE)
    broken['Models'][0]['Config'] = 'none.py'
    assert model_zoo(['--index', str(write_index(tmp_path, broken))]) == 1
    assert 'model_zoo: meta.yml: model: Config: none.py: no such file' in capsys.readouterr().err


METAFILE = dict(
    Collections=[dict(Name='C', Paper=dict(Title='T', URL='U'), README='file', Code=dict(URL='file'))],
    Models=[
        {
            'Name': 'model',
            'In Collection': 'C',
            'Config': 'file',
            'Metadata': {'Training Log': 'file', 'Checkpoint SHA256': 64 * 'a'},
            'Results': [dict(Task='VOS', Dataset='D', Metrics={'J': 0.1, 'F': 0.3, 'J&F': 0.2})],
        },
        {'Name': 'untrained', 'In Collection': 'C', 'Config': 'file'},
    ],
)


def write_index(folder, metafile):
    (folder / 'file').touch()
    (folder / 'meta.yml').write_text(yaml.safe_dump(metafile))
    (folder / 'model-index.yml').write_text('Import: [meta.yml]\n')
    return folder / 'model-index.yml'


def test_small_index_is_in_order(tmp_path):
    rows, problems = read_index(write_index(tmp_path, METAFILE))
    assert problems == []
    assert [(row['model'], row['J&F'], row['log']) for row in rows] == [('model', 0.2, 'file')]


REMOVED = object()


@pytest.mark.parametrize(
    'path, value, message',
    [
        (('Models', 0, 'Config'), REMOVED, 'model: Config: expected the path of a file'),
        (('Models', 1, 'Config'), 'none.py', 'untrained: Config: none.py: no such file'),
        (('Models', 0, 'In Collection'), 'D', "model: In Collection: 'D' is none of C"),
        (
            ('Models', 0, 'Metadata', 'Training Log'),
            REMOVED,
            'model: Metadata.Training Log: expected the path',
        ),
        (
            ('Models', 0, 'Metadata', 'Training Log'),
            'none',
            'model: Metadata.Training Log: none: no such file',
        ),
        (
            ('Models', 0, 'Metadata', 'Checkpoint SHA256'),
            REMOVED,
            'model: Metadata.Checkpoint SHA256: expected 64',
        ),
        (
            ('Models', 0, 'Metadata', 'Checkpoint SHA256'),
            'abc',
            'model: Metadata.Checkpoint SHA256: expected 64',
        ),
        (('Models', 0, 'Metadata'), REMOVED, 'model: Metadata.Checkpoint SHA256: expected 64'),
        (
            ('Models', 0, 'Metadata', 'Starts From'),
            'nobody',
            "model: Metadata.Starts From: 'nobody' is no model",
        ),
        (('Models', 0, 'Results', 0, 'Task'), REMOVED, 'model: Results[0].Task: expected a text'),
        (('Models', 0, 'Results', 0, 'Dataset'), '', 'model: Results[0].Dataset: expected a text'),
        (('Models', 0, 'Results', 0, 'Metrics'), {}, 'model: Results[0].Metrics: expected scores'),
        (
            ('Models', 0, 'Results', 0, 'Metrics', 'J'),
            'good',
            'model: Results[0].Metrics.J: expected a number, got good',
        ),
        (('Models', 1, 'Name'), 'model', 'model: Name: another model has it too'),
        (('Collections', 0, 'Paper', 'URL'), REMOVED, 'C: Paper.URL: expected a text'),
        (('Collections', 0, 'README'), 'none', 'C: README: none: no such file'),
    ],
)
def test_index_is_refused_with_model_and_key(path, value, message, tmp_path, capsys):
    metafile = copy.deepcopy(METAFILE)
    *parents, key = path
    node = metafile
    for parent in parents:
        node = node[parent]
    if value is REMOVED:
        del node[key]
    else:
        node[key] = value
    out = tmp_path / 'table.json'
    assert main(['--index', str(write_index(tmp_path, metafile)), '--out', str(out)]) == 1
    assert f'meta.yml: {message}' in capsys.readouterr().err
    assert not out.exists()


def test_index_that_cannot_be_read_is_refused(tmp_path, capsys):
    index = tmp_path / 'model-index.yml'
    assert main(['--index', str(index)]) == 1
    index.write_text('Import: [none.yml]\n')
    assert main(['--index', str(index)]) == 1
    assert 'none.yml: cannot be read' in capsys.readouterr().err
