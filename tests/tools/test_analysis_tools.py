"""The tools that OpenMMLab's users look for: configs, data sets, operations and logs."""

import json
import runpy

import numpy as np
import pytest
from helpers.runs import ROOT, SMALL_VOS
from mmengine.config import Config
from PIL import Image

LOG = ROOT / 'results/logs/shipped_stremn.jsonl'
PREDICTOR = ROOT / 'configs/prediction/stremn_moving_digits.py'


def tool(name):
    return runpy.run_path(str(ROOT / f'tools/{name}.py'))['main']


def test_print_config_prints_and_saves_the_merged_config(tmp_path, capsys):
    saved = tmp_path / 'config.py'
    options = ['--cfg-options', 'model.memory.num_slots=7', '--save-path', str(saved)]
    assert tool('misc/print_config')(['vos/stremn_r18.py', *options]) == 0
    assert 'num_slots=7' in capsys.readouterr().out
    assert Config.fromfile(saved).model.memory.num_slots == 7
    assert tool('misc/print_config')(['vos/stremn_r19.py']) == 1
    assert 'Did you mean' in capsys.readouterr().err


@pytest.mark.parametrize('config, channels', [(SMALL_VOS, 3), (PREDICTOR, 1)])
def test_get_flops_counts_parameters_and_grows_with_the_frame(config, channels, capsys):
    main, found = tool('analysis_tools/get_flops'), []
    for side in ('32', '64'):
        assert main([str(config), '--shape', side, '--channels', str(channels)]) == 0
        lines = capsys.readouterr().out.splitlines()
        found.append(dict(line.split(': ') for line in lines if line.startswith(('Flops', 'Params'))))
    assert found[0]['Params'] == found[1]['Params']
    assert found[0]['Flops'] != found[1]['Flops']


@pytest.mark.parametrize('phase, config', [('train', SMALL_VOS), ('test', SMALL_VOS), ('test', PREDICTOR)])
def test_browse_dataset_writes_a_picture_an_item(phase, config, tmp_path):
    argv = [str(config), '-p', phase, '-n', '2', '--not-show', '--output-dir', str(tmp_path)]
    assert tool('analysis_tools/browse_dataset')(argv) == 0
    pictures = [np.asarray(Image.open(path)) for path in sorted(tmp_path.glob('*.png'))]
    assert len(pictures) == 2
    assert all(picture.shape[1] > 2 * picture.shape[0] and picture.std() > 1 for picture in pictures)


def test_analyze_logs_plots_and_times(tmp_path, capsys):
    main = tool('analysis_tools/analyze_logs')
    out = tmp_path / 'curve.png'
    assert main(['plot_curve', str(LOG), '--keys', 'loss', 'loss_ce', '--out', str(out)]) == 0
    assert np.asarray(Image.open(out)).std() > 1
    log = tmp_path / 'scalars.json'
    log.write_text('\n'.join(json.dumps(dict(step=k, time=t)) for k, t in enumerate([9.0, 1.0, 2.0])))
    assert main(['cal_train_time', str(log)]) == 0
    assert 'mean 1.5000 s' in capsys.readouterr().out
    assert main(['cal_train_time', str(log), '--include-outliers']) == 0
    assert 'mean 4.0000 s' in capsys.readouterr().out


def test_analyze_logs_names_a_missing_key(capsys):
    assert (
        tool('analysis_tools/analyze_logs')(['plot_curve', str(LOG), '--keys', 'los', '--out', 'x.png']) == 1
    )
    assert "no 'los', only" in capsys.readouterr().err
