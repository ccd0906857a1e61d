"""What the tools build of a config: loaders without workers, work folders that were moved, other runners."""

import shutil

import pytest
from helpers.runs import TINY, largest_difference, run_script, run_tool

from mmstremn.checkpoints.reading import read_checkpoint
from mmstremn.engine.launch import build_runner, latest_checkpoint, load_config


@pytest.fixture(autouse=True)
def modules_of_the_config(monkeypatch):
    monkeypatch.syspath_prepend(TINY.parent)


def test_loaders_without_workers_need_no_other_change():
    workers = dict(persistent_workers=True, prefetch_factor=4, timeout=60)
    options = {f'{key}_dataloader': dict(workers) for key in ('train', 'val')}
    cfg = load_config(str(TINY), options | {'val_dataloader.num_workers': 2})
    assert not workers.keys() & cfg.train_dataloader.keys()
    assert {name: cfg.val_dataloader.get(name) for name in workers} == workers


def test_the_latest_checkpoint_is_found_wherever_the_folder_is(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    there, here = tmp_path / 'there', tmp_path / 'here'
    for folder in (there, here):
        folder.mkdir()
        (folder / 'last_checkpoint').write_text(f'{there}/iter_3.pth\n')
    (there / 'iter_3.pth').touch()
    assert latest_checkpoint(here) == str(there / 'iter_3.pth')  # written elsewhere (out_dir)
    (here / 'iter_3.pth').touch()
    assert latest_checkpoint(here) == str(here / 'iter_3.pth')  # a copy of the folder
    for folder in (there, here):
        (folder / 'iter_3.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'last_checkpoint names .*there/iter_3\.pth: expected'):
        latest_checkpoint(here)


def test_a_copied_work_folder_goes_on_and_the_original_stays(tmp_path):
    """Also its best checkpoint, which a better one replaces: in the copy alone."""
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    assert run_tool('train', [TINY, '--work-dir', original, '--cfg-options', 'train_cfg.max_iters=6']) == 0
    shutil.copytree(original, copy)
    before = {path: path.read_bytes() for path in original.glob('*.pth')}
    assert run_tool('train', [TINY, '--work-dir', copy, '--resume']) == 0
    assert {path: path.read_bytes() for path in original.glob('*.pth')} == before
    assert (copy / 'iter_12.pth').is_file() and not (copy / 'iter_6.pth').exists()
    assert len([*copy.glob('best_*.pth')]) == 1
    info = read_checkpoint(copy / 'iter_12.pth')['message_hub']['runtime_info']
    assert info['last_ckpt'] == str(copy / 'iter_12.pth')
    assert info['best_ckpt'] == str(next(copy.glob('best_*.pth')))


OPTIONS = ['train_cfg.max_iters=3', 'param_scheduler=[]', 'model.dropout=0']
OPTIONS += ['default_hooks.checkpoint.save_best=None']
OPTIONS += ['val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
FSDP = ['runner_type=FlexibleRunner', 'strategy.type=FSDPStrategy', 'strategy.state_dict_cfg=full']


@pytest.mark.parametrize('content', [b'', b'\n'])
def test_a_last_checkpoint_that_names_none_is_refused(tmp_path, content):
    (tmp_path / 'last_checkpoint').write_bytes(content)
    with pytest.raises(ValueError, match='last_checkpoint: expected the path of a checkpoint'):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize(
    'config, option, message',
    [
        ('stremn_synthetic.py', 'model.framez', r'model: VOSegmentor\.framez: .*Did you mean frozen\?'),
        (
            TINY,
            'test_evaluator.measurez',
            r'test_evaluator: DAVISMetric\.measurez: there is no such argument',
        ),
        (
            'stremn_synthetic.py',
            'train_dataloader.dataset.clip_lenght',
            r'train_dataloader\.dataset: SyntheticVOSDataset\.clip_lenght: .*Did you mean clip_length\?',
        ),
        (
            'stremn_synthetic.py',
            'train_cfg.max_itres',
            r'train_cfg: SeekingIterTrainLoop\.max_itres: .*max_iters',
        ),
        (TINY, 'custom_hooks[0].intervall', r'custom_hooks\[0\]: SlotTimelineHook\.intervall'),
    ],
)
def test_unknown_arguments_are_named_with_their_place(config, option, message):
    hooks = [dict(type='SlotTimelineHook', intervall=3, priority='LOW')]
    options = {option: 3} if '[' not in option else dict(custom_hooks=hooks)
    with pytest.raises(TypeError, match=message):
        load_config(str(config), options)
    load_config(str(TINY), dict(custom_hooks=[dict(type='SlotTimelineHook', priority='LOW')]))


def test_an_unknown_runner_is_named_with_those_that_there_are():
    cfg = load_config(str(TINY), dict(runner_type='Nonsense'))
    with pytest.raises(KeyError, match=r"runner_type: 'Nonsense' is not registered, expected one of .*Flex"):
        build_runner(cfg)


def test_a_strategy_without_effect_is_refused():
    cfg = load_config(str(TINY), dict(strategy=dict(type='FSDPStrategy')))
    with pytest.raises(ValueError, match="strategy: has no effect without runner_type='FlexibleRunner'"):
        build_runner(cfg)


@pytest.mark.slow
def test_weights_spread_over_two_processes_train_as_in_one(tmp_path):
    """Within 1e-6 after three steps of Adam; another training starts from what FSDP wrote."""
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert run_tool('train', [TINY, '--work-dir', one, '--cfg-options', *OPTIONS]) == 0
    options = [*OPTIONS, *FSDP, 'train_dataloader.batch_size=1']
    run_script('dist_train.sh', TINY, 2, '--work-dir', two, '--cfg-options', *options)
    first, second = (read_checkpoint(folder / 'iter_3.pth')['state_dict'] for folder in (one, two))
    assert largest_difference(first, second) <= 1e-6
    options += [f'load_from={two / "iter_3.pth"}', 'optim_wrapper.optimizer.lr=0']
    run_script('dist_train.sh', TINY, 2, '--work-dir', tmp_path / 'on', '--cfg-options', *options)
    third = read_checkpoint(tmp_path / 'on/iter_3.pth')['state_dict']
    assert largest_difference(second, third) == 0


def test_the_runner_of_the_config_is_built(tmp_path):
    options = [*OPTIONS, 'runner_type=FlexibleRunner', 'strategy.type=Nonsense']
    output = tmp_path / 'output'
    argv = [TINY, '--work-dir', tmp_path, '--cfg-options', *options]
    assert run_tool('train', argv, output=output) != 0
    assert 'Nonsense' in output.read_text()


def test_a_resume_of_spread_weights_is_refused_before_anything_is_built(tmp_path):
    checkpoint, output = tmp_path / 'iter_3.pth', tmp_path / 'output'
    checkpoint.touch()
    argv = [TINY, '--work-dir', tmp_path / 'run', '--resume', checkpoint, '--cfg-options', *OPTIONS, *FSDP]
    assert run_tool('train', argv, output=output) != 0
    assert f'{checkpoint}: cannot be resumed with strategy.type=FSDPStrategy' in output.read_text()
    assert not (tmp_path / 'run').exists()
