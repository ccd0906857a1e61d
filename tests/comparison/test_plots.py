"""Plots of leaderboards."""

import json
import runpy

import numpy as np
import pytest
from helpers.runs import DATA, ROOT
from matplotlib.image import imread
from mmengine.config import Config

from mmstremn.comparison import plots

SMALL = DATA / 'small_vos.py'
plot_study = runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_study.py'))['main']


def made_up(folder, names, config=str(SMALL)):
    """A leaderboard as compare_memories.py writes it."""
    table = [
        {
            'memory': name,
            'J&F': 0.5 + 0.02 * place,
            'spread': 0.01 * place or None,
            'state_bytes': 1000 * 4**place,
        }
        | {'ms_per_frame': 3.0 + place}
        for place, name in enumerate(names)
    ]
    rows = [
        dict(
            memory=name,
            seed=seed,
            videos=dict(test_00000=0.5, test_00001=0.6),
            setup=dict(config=config, cfg_options={}),
        )
        for name in names
        for seed in range(2)
    ]
    folder.mkdir(exist_ok=True)
    (folder / 'leaderboard.json').write_text(json.dumps(dict(table=table, rows=rows)))
    return str(folder)


@pytest.mark.parametrize(
    'kind, names',
    [
        ('bars', ('fifo', 'stm')),
        ('slots', ('fifo_2', 'fifo_4')),
        ('cadence', ('fifo_every_1', 'lru_every_5')),
    ],
)
def test_plots_of_two_folders(kind, names, tmp_path):
    folders = [made_up(tmp_path / name, names) for name in ('one', 'two')]
    out = tmp_path / 'plots' / f'{kind}.png'
    assert plot_study([*folders, '--kind', kind, '--out', str(out)]) == 0
    assert imread(out)[..., :3].std() > 0.02


def test_lines_of_the_slots_plot(tmp_path):
    folder = tmp_path / 'one'
    made_up(folder, ('fifo_4', 'fifo_2', 'lru_2'))
    figure = plots.draw_slots(plots.read_boards([folder]))
    drawn = {container.get_label(): container[0].get_xydata() for container in figure.axes[0].containers}
    np.testing.assert_allclose(drawn['fifo'], [[2, 52], [4, 50]])
    np.testing.assert_allclose(drawn['lru'], [[2, 54]])
    assert [axes.get_ylabel() for axes in figure.axes] == ['J&F in percent', 'state in MB', 'ms a frame']


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """A tiny model on two short videos."""
    cfg = Config.fromfile(SMALL)
    cfg.test_dataloader.dataset = dict(
        type='LongSyntheticVOSDataset', split='test', size=(48, 48), lengths=(40, 24)
    )
    path = tmp_path_factory.mktemp('config') / 'long.py'
    cfg.dump(str(path))
    return str(path)


def test_length_plot_takes_lengths_from_the_config(config, tmp_path):
    folder = tmp_path / 'one'
    made_up(folder, ('fifo', 'lru'), config)
    board = json.loads((folder / 'leaderboard.json').read_text())
    for row in board['rows']:
        row['videos'] = {'long_test_000_return': 0.4 + 0.2 * row['seed'], 'long_test_001_look_alikes': 0.7}
    (folder / 'leaderboard.json').write_text(json.dumps(board))
    figure = plots.draw_length(plots.read_boards([folder], ['fifo']))
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[24, 70], [40, 50]])
    made_up(folder, ('fifo',), config)
    assert plot_study([str(folder), '--kind', 'length', '--out', str(tmp_path / 'x.png')]) == 1


@pytest.mark.parametrize(
    'names, argv, message',
    [
        (('fifo',), ['--kind', 'slots'], 'expected a name that ends in a number'),
        (('fifo',), ['--memories', 'stm'], 'none of the memories stm'),
    ],
)
def test_what_plots_refuse(names, argv, message, tmp_path, capsys):
    folder = made_up(tmp_path / 'one', names)
    assert plot_study([folder, *argv, '--out', str(tmp_path / 'x.png')]) == 1
    assert message in capsys.readouterr().err
    assert plot_study([str(tmp_path), '--out', str(tmp_path / 'x.png')]) == 1
