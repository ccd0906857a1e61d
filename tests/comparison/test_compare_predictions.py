"""The comparison of memories in a video predictor: the same rows, leaderboard and plots, with the predictor's
figures."""

import json
import runpy

import numpy as np
import pytest
import torch
from helpers.predictor_cases import LATER, tiny_digits
from helpers.runs import DATA, ROOT, run_tool
from matplotlib.image import imread
from mmengine.config import Config

from mmstremn.apis import init_predictor
from mmstremn.comparison import compare, plots
from mmstremn.comparison.leaderboard import (
    comparison_columns,
    index_columns,
    main_score,
    markdown,
    summarise,
)
from mmstremn.engine.launch import set_max_iters

SLOTS = 3
main, plot, show = (
    runpy.run_path(str(ROOT / f'tools/analysis_tools/{name}.py'))['main']
    for name in ('compare_memories', 'plot_study', 'leaderboard')
)
MEMORIES = f"""
fifo = dict(type='SlotMemory', num_slots={SLOTS}, selector=dict(type='FIFOSelector'))
memories = dict(
    fifo=fifo,
    fifo_query_1=dict(memory=fifo, query_frames=1),
    convlstm=dict(type='ConvLSTMMemory', hidden_channels=4, kernel=3),
)
"""


def run_phase(phase, folder, threads, report, kill=None):
    """As ``compare.run_phase``, in a fork of a server that has imported torch already."""
    return run_tool('../mmstremn/comparison/run_row', [phase, folder], kill=kill, output=folder / 'log.txt')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The folder of a comparison of three memories, and its config."""
    folder = tmp_path_factory.mktemp('comparison')
    config, out, file = tiny_digits(folder), folder / 'out', folder / 'memories.py'
    file.write_text(MEMORIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, 'run_phase', run_phase)
        argv = [
            config,
            '--out',
            out,
            '--memory-file',
            file,
            '--memories',
            'all',
            '--iters',
            '2',
            '--seeds',
            '1',
        ]
        assert main([str(part) for part in argv]) == 0
    return out, config


def read(out, name):
    return json.loads((out / f'rows/{name}/seed_0/row.json').read_text())


def test_rows_hold_the_figures_of_the_metric(finished):
    row = read(finished[0], 'fifo')
    assert (row['metric'], row['protocol'], row['iterations']) == ('VideoPredictionMetric', 'standard', 2)
    assert row['PSNR'] == pytest.approx(np.mean(row['per_frame']['PSNR']))
    assert row['PSNR'] == pytest.approx(np.mean(list(row['videos'].values())))
    assert len(row['per_frame']['PSNR']) == len(row['per_frame']['copy_last/PSNR']) == LATER
    assert len(row['videos']) == 3
    assert all(
        row[key] > 0 for key in ('SSIM', 'MSE', 'MAE', 'ms_per_frame', 'peak_memory_mib', 'training_seconds')
    )
    assert row['versions']['torch'] == torch.__version__


def test_state_bytes_are_those_of_one_clip(finished):
    stream = init_predictor(str(finished[0] / 'rows/fifo/seed_0/config.py'), device='cpu').start(
        torch.zeros(1, 16, 16)
    )
    for _ in range(SLOTS):
        stream.step()
    assert read(finished[0], 'fifo')['state_bytes'] == stream.state.nbytes
    assert read(finished[0], 'convlstm')['state_bytes'] != stream.state.nbytes


def test_entries_may_change_the_model(finished):
    assert Config.fromfile(finished[0] / 'rows/fifo_query_1/seed_0/config.py').model.query_frames == 1


def test_leaderboard_is_ordered_by_psnr(finished):
    board = json.loads((finished[0] / 'leaderboard.json').read_text())
    values = [line['PSNR'] for line in board['table']]
    assert values == sorted(values, reverse=True) and len(values) == 3
    head = (finished[0] / 'leaderboard.md').read_text().splitlines()[2]
    titles = [cell.strip() for cell in head.strip('|').split('|')]
    figures = ['PSNR', 'SSIM', 'MSE', 'MAE', 'copy-last PSNR', '±']
    assert titles == ['memory', *figures, 'seeds', 'ms a frame', 'peak MiB', 'state MB', 'train s']
    assert f'{values[0]:.2f}' in (finished[0] / 'leaderboard.html').read_text()


def test_checked_row_gives_the_same(finished, monkeypatch, capsys):
    monkeypatch.setattr(compare, 'run_phase', run_phase)
    assert main(['--check-row', 'convlstm', '--out', str(finished[0])]) == 0
    output = capsys.readouterr().out
    psnr = read(finished[0], 'convlstm')['PSNR']
    assert f'PSNR {psnr:.6f} committed, {psnr:.6f} now' in output
    assert 'copy_last/PSNR' in output and 'another' not in output


@pytest.mark.parametrize('kind', ['horizon', 'bars'])
def test_plots(finished, kind, tmp_path):
    out = tmp_path / f'{kind}.png'
    assert plot([str(finished[0]), '--kind', kind, '--out', str(out)]) == 0
    assert imread(out)[..., :3].std() > 0.02


def made_up(seeds=2):
    """Rows of two memories over two frames."""
    return [
        {
            'memory': name,
            'seed': seed,
            'metric': 'VideoPredictionMetric',
            'PSNR': 20.0 + better + seed,
            'MSE': 0.0123456,
        }
        | {'ms_per_frame': 1.0, 'peak_memory_mib': 1.0, 'state_bytes': 1000, 'training_seconds': 1.0}
        | dict(
            per_frame={'PSNR': [21.0 + better + seed, 19.0 + better + seed], 'copy_last/PSNR': [15.0, 12.0]}
        )
        for better, name in enumerate(('worse', 'better'))
        for seed in range(seeds)
    ]


def test_summary_of_predictors():
    rows = made_up()
    best, worse = summarise(rows)
    assert (best['memory'], best['PSNR'], worse['PSNR']) == ('better', 21.5, 20.5)
    assert best['spread'] == pytest.approx(0.5**0.5)
    line = markdown([best, worse], comparison_columns(rows)).splitlines()[2]
    assert [cell.strip() for cell in line.strip('|').split('|')][:5] == [
        'better',
        '21.50',
        '0.01235',
        '0.71',
        '2',
    ]


def test_lines_of_the_horizon_plot():
    rows = made_up()
    figure = plots.draw_horizon([dict(suffix='', table=summarise(rows), rows=rows)])
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {
        'better': [[1, 22.5], [2, 20.5]],
        'worse': [[1, 21.5], [2, 19.5]],
        'last input frame': [[1, 15], [2, 12]],
    }
    assert len(figure.axes[0].collections) == 2  # the spread


def test_lines_of_the_steps_plot():
    boards = []
    for horizon in (2, 4):
        rows = made_up()
        for row in rows:
            row['per_frame']['PSNR'] = [20.0] * horizon
            row['state_bytes'] = 1000 * horizon
        boards.append(dict(suffix=f' ({horizon})', table=summarise(rows), rows=rows))
    figure = plots.draw_steps(boards)
    assert [axes.get_ylabel() for axes in figure.axes] == ['PSNR in dB', 'state in MB', 'ms a frame']
    drawn = {container.get_label(): container[0].get_xydata() for container in figure.axes[1].containers}
    assert drawn.keys() == {'better', 'worse'}
    np.testing.assert_allclose(drawn['better'], [[2, 0.002], [4, 0.004]])


def segmentation(folder):
    row = {
        'memory': 'fifo',
        'J': 0.1,
        'F': 0.3,
        'J&F': 0.2,
        'ms_per_frame': 1,
        'peak_memory_mib': 1,
        'state_bytes': 1,
    }
    rows = [row | dict(training_seconds=1.0)]
    folder.mkdir()
    (folder / 'leaderboard.json').write_text(json.dumps(dict(table=summarise(rows), rows=rows)))
    return str(folder)


@pytest.mark.parametrize(
    'kind, predictors, message',
    [
        ('horizon', False, 'horizon: expected a comparison of video predictors'),
        ('steps', False, 'steps: expected comparisons of video predictors'),
        ('length', True, 'length: expected a comparison of segmentation'),
        ('bars', None, 'J&F and PSNR cannot share a plot'),
    ],
)
def test_plots_that_do_not_fit_are_refused(finished, kind, predictors, message, tmp_path, capsys):
    vos = segmentation(tmp_path / 'vos')
    folders = {False: [vos], True: [str(finished[0])], None: [vos, str(finished[0])]}[predictors]
    assert plot([*folders, '--kind', kind, '--out', str(tmp_path / 'x.png')]) == 1
    assert message in capsys.readouterr().err


def test_default_memories_are_those_of_the_task(finished, tmp_path, capsys):
    assert main([str(finished[1]), '--out', str(tmp_path), '--memories', 'stcn']) == 1
    assert "'stcn' is unknown; there are: gumbel, fifo" in capsys.readouterr().err
    assert main([str(DATA / 'small_vos.py'), '--out', str(tmp_path), '--memories', 'gumbel_query_1']) == 1
    assert "'gumbel_query_1' is unknown; there are: gumbel, gumbel_align" in capsys.readouterr().err


def test_metric_without_what_decides_the_order_is_refused(finished, tmp_path, capsys):
    options = ['--cfg-options', 'test_evaluator.measures=[SSIM]']
    assert main([str(finished[1]), '--out', str(tmp_path), *options]) == 1
    assert 'expected PSNR among test_evaluator.measures' in capsys.readouterr().err


def test_sampling_and_one_cycle_become_shorter_with_the_training():
    cfg = Config.fromfile(ROOT / 'configs/prediction/predrnn_v2_moving_digits.py')
    set_max_iters(cfg, 100)
    sampling, scheduler = cfg.model.sampling, cfg.param_scheduler[0]
    assert (sampling.begin_iter, sampling.end_iter, sampling.rate, scheduler.total_steps) == (25, 50, 5, 100)


def test_index_shows_the_figures_there_are(capsys):
    lines = [dict(model='a', dataset='D', PSNR=21.0), dict(model='b', dataset='D', PSNR=22.0)]
    assert [key for key in index_columns(lines) if key in ('J', 'F', 'J&F', 'PSNR', 'SSIM')] == ['PSNR']
    assert [main_score(line) for line in (*lines, dict(model='c'))] == [21, 22, 0]
    assert show(['--check']) == 0
