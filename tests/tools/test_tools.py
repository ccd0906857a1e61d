"""The command line: help, output, and what is said about bad input."""

import json
import os
import runpy
import subprocess
import sys

import pytest
import torch
from helpers.runs import DATA, ROOT, TINY, run_tool

from mmstremn import versions
from mmstremn.checkpoints.reading import check_checkpoint_file
from mmstremn.engine.run_main import run_main


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A checkpoint after three iterations."""
    folder = tmp_path_factory.mktemp('trained')
    assert run_tool('train', [TINY, '--work-dir', folder, '--cfg-options', 'train_cfg.max_iters=3']) == 0
    return folder / 'iter_3.pth'


@pytest.fixture
def failure(tmp_path):
    """A function: the output of a tool that must fail, with ``--work-dir`` and the config filled in."""

    def run(tool, *argv, config=TINY):
        output = tmp_path / 'output'
        code = run_tool(tool, [config, *argv, '--work-dir', tmp_path / 'work'], output=output)
        assert code != 0
        return output.read_text()

    return run


@pytest.mark.parametrize('tool, flag', [('train', '--auto-scale-lr'), ('test', '--show-dir')])
def test_help(tool, flag, tmp_path):
    assert run_tool(tool, ['--help'], output=tmp_path / 'output') == 0
    assert flag in (tmp_path / 'output').read_text()


def test_test_tool_writes_metrics_masks_overlays_and_slot_timelines_from_any_folder(trained, tmp_path):
    outputs = ['--work-dir', tmp_path, '--out', tmp_path / 'a/metrics.json', '--show-dir', tmp_path / 'show']
    command = [sys.executable, ROOT / 'tools/test.py', TINY, trained, *outputs]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(DATA)]))
    result = subprocess.run(map(str, command), cwd='/', env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'DAVIS/J&F' in json.loads((tmp_path / 'a/metrics.json').read_text())
    assert len(list((tmp_path / 'show/video2').glob('*.png'))) == 3
    assert len(list((tmp_path / 'show').glob('*.mp4'))) == 3
    assert len(list(tmp_path.glob('*/vis_data/vis_image/slot_timeline_video*.png'))) == 3


@pytest.mark.parametrize('flag', ['--out', '--show-dir'])
def test_results_that_cannot_be_written_are_refused_before_the_test(trained, failure, tmp_path, flag):
    (tmp_path / 'file').touch()
    place, message = (
        (tmp_path, 'is a folder') if flag == '--out' else (tmp_path / 'file', 'is no folder that')
    )
    output = failure('test', trained, flag, place)
    assert message in output and 'System environment' not in output


def test_checkpoint_of_another_model_is_refused_in_testing(trained, failure):
    message = (
        'the checkpoint does not fit TinySegmentor: 3 keys of another shape: conv.bias (4,) instead of (6,)'
    )
    assert message in failure('test', trained, '--cfg-options', 'model.width=6')


def test_checkpoint_of_another_model_is_refused_in_resuming(trained, failure):
    assert '3 keys of another shape' in failure(
        'train', '--resume', trained, '--cfg-options', 'model.width=6'
    )


def test_load_from_warns_about_a_part(trained, tmp_path):
    state = torch.load(trained, weights_only=False)['state_dict']
    torch.save(
        {'module.conv.weight': state['conv.weight'], 'neck.weight': torch.zeros(1)}, tmp_path / 'part.pth'
    )
    options = ['--cfg-options', f'load_from={tmp_path / "part.pth"}', 'train_cfg.max_iters=1']
    assert run_tool('train', [TINY, '--work-dir', tmp_path, *options], output=tmp_path / 'output') == 0
    text = (tmp_path / 'output').read_text()
    assert '3 keys missing: conv.bias, head.bias, head.weight; 1 keys unexpected: neck.weight' in text


def test_load_from_a_checkpoint_of_which_nothing_fits_is_refused(tmp_path, failure):
    torch.save({'neck.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    text = failure('train', '--cfg-options', f'load_from={tmp_path / "other.pth"}')
    assert (
        '4 keys missing: conv.bias, conv.weight, head.bias, head.weight; 1 keys unexpected: neck.weight'
        in text
    )


def test_unknown_type_is_named_with_its_place_and_the_choices(failure):
    text = failure('train', '--cfg-options', 'train_dataloader.sampler.type=IterSampler')
    assert "train_dataloader.sampler: 'IterSampler' is not registered as a data sampler" in text
    assert 'Did you mean IterationSampler' in text


def test_sampler_that_cannot_seek_is_refused(failure):
    text = failure('train', '--cfg-options', 'train_dataloader.sampler.type=InfiniteSampler')
    assert "SeekingIterTrainLoop expects dict(type='IterationSampler')" in text


@pytest.mark.skipif(
    torch.cuda.is_available(), reason='mmengine reads the variables itself where there is a GPU'
)
def test_launcher_without_processes_names_the_variable(failure):
    assert 'expected the environment variable RANK' in failure('train', '--launcher', 'pytorch')


def test_auto_scale_lr_needs_a_base_batch_size(failure):
    assert 'expected auto_scale_lr.base_batch_size' in failure('train', '--auto-scale-lr')


def test_missing_config_is_named(failure):
    assert 'config /nowhere/config.py: no such file' in failure('train', config='/nowhere/config.py')


SYNTHETIC = ROOT / 'configs/stremn_synthetic.py'


@pytest.mark.parametrize(
    'tool, argv, message',
    [
        ('train', ['none.py'], 'train: config none.py: no such file'),
        ('train', [TINY, '--resume', 'none.pth'], 'train: checkpoint none.pth: no such file'),
        (
            'train',
            [TINY, '--auto-scale-lr'],
            'train: --auto-scale-lr: expected auto_scale_lr.base_batch_size',
        ),
        (
            'train',
            [SYNTHETIC, '--cfg-options', 'model.memory.slotz=5'],
            'train: SlotMemory.slotz: there is no',
        ),
        ('test', ['none.py', 'none.pth'], 'test: config none.py: no such file'),
        ('test', [TINY, 'none.pth'], 'test: checkpoint none.pth: no such file'),
        ('test', [TINY], 'its model has no weights of its own, expected a checkpoint'),
        ('fit_presence', ['none.py', 'none.pth', 'out.pth'], 'fit_presence: config none.py: no such file'),
        ('analysis_tools/copy_first_baseline', ['none.py'], 'copy_first_baseline: config none.py: no such'),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(tool, argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(DATA)
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, argv)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / f'tools/{tool}.py'), run_name='__main__')
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert message in lines[-1] and not any('Traceback' in line for line in lines)


def test_mistakes_of_a_program_keep_their_traceback(capsys):
    def refuse(path):
        raise FileNotFoundError(f'{path}: no such file')

    assert run_main(lambda: refuse('a.py'), 'train') == 2
    assert capsys.readouterr().err == 'train: a.py: no such file\n'
    for mistake, error in (
        (lambda: {}['a'], KeyError),
        (lambda: int('a'), ValueError),
        (lambda: len(1), TypeError),
    ):
        with pytest.raises(error):
            run_main(mistake, 'train')
    assert run_main(lambda: 3, 'train') == 3 and run_main(dict, 'test') == 0


def test_missing_and_damaged_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth: no such file'):
        check_checkpoint_file(str(tmp_path / 'nothing.pth'))
    whole, half = tmp_path / 'whole.pth', tmp_path / 'half.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1000))), whole)
    check_checkpoint_file(str(whole))
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ValueError, match=r'half\.pth: expected a file written by torch\.save'):
        check_checkpoint_file(str(half))


@pytest.mark.parametrize(
    'script, usage',
    [('dist_train.sh', 'NUM_PROCESSES'), ('dist_test.sh', 'CHECKPOINT'), ('slurm_train.sh', 'PARTITION')],
)
def test_scripts_say_how_they_are_used(script, usage):
    result = subprocess.run([ROOT / 'tools' / script], capture_output=True, text=True)
    assert result.returncode == 2
    assert usage in result.stderr


@pytest.mark.parametrize(
    'installed, message',
    [
        ({'mmengine': '0.10.7', 'torch': '2.14.1'}, 'Fix: pip uninstall -y mmengine && pip install'),
        ({'torch': '2.14.1'}, 'Fix: pip install onedl-mmengine'),
        ({'onedl-mmengine': '0.10.12', 'torch': '3.0.0'}, r'tested with torch 2\.14, not with 3\.0\.0'),
    ],
)
def test_missing_and_untested_packages_are_named(installed, message, monkeypatch):
    monkeypatch.setattr(versions, 'installed_version', installed.get)
    with pytest.warns(UserWarning, match=message):
        versions.check_versions()
