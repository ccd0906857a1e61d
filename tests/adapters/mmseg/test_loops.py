"""Training and testing with mmengine's own loops, on one process and on two."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import json
import multiprocessing
import os
from datetime import timedelta

import torch
from helpers.mmseg_cases import SIZE  # skips without mmsegmentation
from helpers.runs import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

CONFIG = ROOT / 'configs/adapters/mmseg/fcn_memory_synthetic.py'


def load(folder, **changes) -> Config:
    """The study's config, tiny."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir, cfg.experiment_name = str(folder), folder.name
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.decode_head.head.update(in_channels=16, channels=8)
    cfg.model.decode_head.update(key_channels=8, value_channels=8)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.update(size=SIZE, num_videos=3, num_frames=5)
    cfg.train_dataloader.batch_sampler.clip_length = 3
    cfg.model.data_preprocessor.size = SIZE
    cfg.test_evaluator.windows = (3,)
    cfg.train_cfg.max_iters = cfg.default_hooks.checkpoint.interval = 3
    cfg.load_from = None
    cfg.merge_from_dict(changes)
    return cfg


def run(cfg, work) -> dict | None:
    with DefaultScope.overwrite_default_scope('mmseg'):
        return work(Runner.from_cfg(cfg))


def weights(folder):
    return torch.load(folder / 'iter_3.pth', weights_only=False)['state_dict']


def test_an_unmodified_runner_trains_and_tests(tmp_path):
    run(load(tmp_path / 'train'), Runner.train)
    trained = weights(tmp_path / 'train')
    assert trained['decode_head.feature_memory.out.weight'].any()
    metrics = run(load(tmp_path / 'test', load_from=str(tmp_path / 'train/iter_3.pth')), Runner.test)
    assert set(metrics) == {'aAcc', 'mIoU', 'mAcc', 'VC3', 'VC3_right'} and 0 < metrics['mIoU'] < 100

    run(load(tmp_path / 'again'), Runner.train)  # what is drawn depends on the seed alone, not on workers
    workers = {'train_dataloader.num_workers': 2}
    run(load(tmp_path / 'workers', **workers), Runner.train)
    for folder in ('again', 'workers'):
        assert all(torch.equal(value, trained[key]) for key, value in weights(tmp_path / folder).items()), (
            folder
        )


def test_two_processes_test_like_one_and_a_sampler_of_frames_is_refused(tmp_path):
    start = str(tmp_path / 'start.pth')
    torch.manual_seed(0)
    run(load(tmp_path / 'model'), lambda runner: torch.save(runner.model.state_dict(), start))
    one = run(load(tmp_path / 'one', load_from=start), Runner.test)

    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    two = load(tmp_path / 'two', load_from=start, launcher='pytorch', model_wrapper_cfg=wrapper)
    assert in_two_processes(two, tmp_path / 'a') == [pytest.approx(one)] * 2

    two.test_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    message = in_two_processes(two, tmp_path / 'b')[1]
    assert (
        'expected to begin with frame 0, got frame 1 after nothing. A memory needs each video in order on one'
        in message
    )


def in_two_processes(cfg, folder) -> list:
    """What testing gives on each rank: the metrics, or the message of the error."""
    folder.mkdir()
    context = multiprocessing.get_context('fork')
    ranks = [context.Process(target=test_on_rank, args=(cfg, folder, rank)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


def test_on_rank(cfg, folder, rank):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    os.chdir(folder)  # mmengine collects results in a folder of its own here
    timeout = timedelta(seconds=60)
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2, timeout=timeout
    )
    try:
        result = run(cfg, Runner.test)
    except Exception as error:
        result = str(error)
    (folder / f'{rank}.json').write_text(json.dumps(result))
    os._exit(0)  # the other rank may still wait for this one


test_on_rank.__test__ = False


@pytest.mark.parametrize(
    'name, config', [('mmseg', 'mmseg/fcn_memory_synthetic'), ('mmdet', 'tracking/qdtrack_memory')]
)
def test_our_tools_find_the_names_of_other_scopes(name, config):
    """A config whose default scope is another library's names parts without a scope."""
    pytest.importorskip(name)
    import mmstremn.adapters.install_ops_stub  # noqa: F401
    from mmstremn.engine.launch import check_types

    cfg = Config.fromfile(ROOT / f'configs/adapters/{config}.py')
    check_types(cfg)
    cfg.train_dataloader.dataset.pipeline = [dict(type='PackSegInput')]
    with pytest.raises(
        KeyError, match=r"train_dataloader\.dataset\.pipeline\[0\]: '\w+\.PackSegInput' is not registered"
    ):
        check_types(cfg)
