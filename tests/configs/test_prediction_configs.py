"""The configs of video prediction: all build and learn, the smallest runs through the tools."""

import gzip
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers.prediction_files import flat_frames, write_video
from helpers.predictor_cases import LATER, OBSERVED, PREDICTION, SIZE, tiny_digits
from helpers.runs import ROOT, run_tool
from mmengine.config import Config
from PIL import Image

from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.plan import set_memory
from mmstremn.datasets import SampleRequest
from mmstremn.engine.launch import check_types
from mmstremn.registry import DATASETS, MODELS
from mmstremn.structures import PredictionDataSample
from mmstremn.visualization.prediction_strip import GAP, SIDE as CELL

ALL = sorted(PREDICTION.glob('*.py'))
WITH_MEMORY = [path for path in ALL if 'simvp' not in path.stem]
MEMORIES = load_memories(str(ROOT / 'configs/_base_/prediction/memories.py'))
MODELS_COMPARED = load_memories(str(ROOT / 'configs/_base_/prediction/models.py'))
DATA = ('human36m', 'kth_20', 'kth_40', 'moving_digits', 'moving_mnist')


def test_every_model_has_a_config_for_every_data_set():
    names = [
        f'{model}_{data}'
        for model in ('convlstm', 'e3d_lstm', 'predrnn', 'predrnn_v2', 'stremn')
        for data in DATA
    ]
    names += [f'{model}_occluded_digits' for model in ('convlstm', 'predrnn', 'simvp', 'stremn')]
    names += ['simvp_moving_digits', 'stremn_recurrent_moving_digits']
    assert sorted(names) == [path.stem for path in ALL]


@pytest.mark.parametrize('path', WITH_MEMORY, ids=lambda path: path.stem)
def test_config_builds_a_model_that_fits_its_data(path):
    cfg = Config.fromfile(path)
    check_types(cfg)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert type(model.memory).__name__ == cfg.model.memory.type
    if 'stremn' in path.stem:
        assert model.query_frames == 3
    channels = (
        model.decoder.predict.out_channels // cfg.model.backbone.get('patch', 1) ** 2
        if 'stremn' in path.stem
        else model.key_encoder.backbone.frame_channels
    )
    assert channels == (3 if 'human36m' in path.stem else 1)
    check_runtime(cfg)


def check_runtime(cfg):
    """Checkpoints are chosen on dev, never on the test set."""
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.split == ('dev' if loader is cfg.val_dataloader else 'test')
        assert loader.dataset.size == cfg.train_dataloader.dataset.size
    hidden = cfg.train_dataloader.dataset.type == 'OccludedDigitsDataset'
    best = 'prediction/PSNR_returned' if hidden else 'prediction/PSNR'
    assert cfg.default_hooks.checkpoint.save_best == best
    assert cfg.param_scheduler[0].total_steps == cfg.train_cfg.max_iters


@pytest.mark.parametrize('data', ['moving_digits', 'occluded_digits'])
def test_config_of_simvp_fits_its_data_and_has_about_the_parameters_of_predrnn(data):
    cfgs = [Config.fromfile(PREDICTION / f'{name}_{data}.py') for name in ('simvp', 'predrnn')]
    simvp, predrnn = (MODELS.build(cfg.model) for cfg in cfgs)
    check_runtime(cfgs[0])
    assert simvp.input_frames == cfgs[0].train_dataloader.dataset.input_frames
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (simvp, predrnn)]
    assert 0.9 < counts[0] / counts[1] < 1.1
    set_memory(cfgs[1], MODELS_COMPARED['simvp'])  # the comparison puts it in the place of any model
    assert cfgs[1].model == cfgs[0].model


def test_the_best_predictor_is_that_of_the_study():
    cfg = Config.fromfile(PREDICTION / 'stremn_recurrent_moving_digits.py')
    other = Config.fromfile(PREDICTION / 'stremn_moving_digits.py')
    set_memory(other, load_memories(str(ROOT / 'studies/prediction/long_memories.py'))['beside'])
    assert cfg.model == other.model


@pytest.mark.parametrize('path', WITH_MEMORY, ids=lambda path: path.stem)
def test_small_model_of_a_config_learns(path):
    cfg = Config.fromfile(path).model
    if cfg.memory.type == 'SlotMemory':
        cfg.backbone.widths = (4, 4, 4)
        cfg.update(key_channels=4, value_channels=4)
    else:
        cfg.memory.get('recurrent', cfg.memory).update(hidden_channels=4, layers=2, kernel=3)
    torch.manual_seed(0)
    model = MODELS.build(cfg).train()
    clips = torch.rand(1, OBSERVED + LATER, cfg.get('frame_channels', 1), SIZE, SIZE)
    sample = PredictionDataSample(metainfo=dict(clip_name='clip', input_frames=OBSERVED, sample_seed=0))
    sum(model(clips, [sample], 'loss').values()).backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) > 0
    with torch.no_grad():
        (result,) = model.eval()(clips, [sample], 'predict')
    assert result.pred_frames.shape == (LATER, *clips.shape[2:]) and result.pred_frames.isfinite().all()


@pytest.mark.parametrize('name', MEMORIES)
def test_memory_of_the_comparison_builds(name):
    cfg = Config.fromfile(PREDICTION / 'stremn_moving_digits.py')
    set_memory(cfg, MEMORIES[name])
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.query_frames == (int(name[-1]) if 'query' in name else 3)
    assert type(model.memory).__name__ == (MEMORIES[name].get('memory') or MEMORIES[name])['type']


# Data


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> Path:
    """As little of KTH, Human3.6M and Moving MNIST as every split needs."""
    root = tmp_path_factory.mktemp('data')
    lines = []
    for person in (1, 15, 16, 17):
        name = f'person{person:02d}_boxing_d1'
        write_video(root / 'kth/boxing' / f'{name}_uncomp.avi', flat_frames(range(20, 80)))
        lines.append(f'{name} frames 1-60\n')
    (root / 'kth/00sequences.txt').write_text('Training: person11\n' + ''.join(lines))
    for subject in (1, 5, 6, 7, 8, 9, 11):
        colours = np.repeat(flat_frames(range(20, 65))[..., None], 3, axis=3)
        write_video(root / f'human36m/S{subject}/Walking.1.mkv', colours)
    (root / 'moving_mnist').mkdir()
    images = np.zeros((5020, 28, 28), np.uint8)
    images[:, 4:24, 10:18] = 200
    header = np.array([2051, *images.shape], dtype='>u4').tobytes()
    (root / 'moving_mnist/train-images-idx3-ubyte.gz').write_bytes(
        gzip.compress(header + images.tobytes(), 1)
    )
    np.save(root / 'moving_mnist/mnist_test_seq.npy', np.zeros((20, 2, 64, 64), np.uint8))
    return root


@pytest.mark.parametrize('data', [*DATA, 'occluded_digits'])
def test_data_sets_of_the_configs_give_clips_for_the_model(data, files, monkeypatch):
    for name in ('kth', 'human36m', 'moving_mnist'):
        monkeypatch.setenv(f'MMSTREMN_{name.upper()}', str(files / name))
    cfg = Config.fromfile(PREDICTION / f'stremn_{data}.py')
    horizon = dict(kth_20=20, kth_40=40, human36m=4).get(data, 10)
    for part in ('train', 'val', 'test'):
        config = cfg[f'{part}_dataloader'].dataset
        item = DATASETS.build(config)[SampleRequest(0, 0)]
        length = config.input_frames + (horizon if part != 'train' or 'kth' not in data else 10)
        assert item['inputs'].shape == (length, cfg.model.get('frame_channels', 1), config.size, config.size)
        assert item['data_samples'].input_frames == config.input_frames


def test_missing_data_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('MMSTREMN_KTH', str(tmp_path / 'nowhere'))
    cfg = Config.fromfile(PREDICTION / 'stremn_kth_20.py')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        DATASETS.build(cfg.test_dataloader.dataset)


# The tools


def num_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_training_and_testing_leave_metrics_strips_and_videos(tmp_path):
    config, log = tiny_digits(tmp_path), tmp_path / 'output'
    work = tmp_path / 'work'
    assert run_tool('train', [config, '--work-dir', work], output=log) == 0, log.read_text()
    assert list(work.glob('best_prediction_PSNR_iter_2.pth'))
    show, out = tmp_path / 'show', tmp_path / 'metrics.json'
    argv = [config, work / 'iter_2.pth', '--work-dir', work, '--show-dir', show, '--out', out]
    assert run_tool('test', argv, output=log) == 0, log.read_text()
    assert "protocol 'standard'" in log.read_text()
    metrics = json.loads(out.read_text())
    assert {
        'prediction/PSNR',
        'prediction/SSIM',
        'prediction/MSE',
        'prediction/copy_last/PSNR',
    } <= metrics.keys()
    strips = sorted(show.glob('*.png'))
    assert len(strips) == 3 == len(list(show.glob('*.mp4')))
    assert num_frames(show / f'{strips[0].stem}.mp4') == OBSERVED + LATER
    assert (
        np.asarray(Image.open(strips[0]))[GAP : GAP + CELL, GAP : GAP + CELL].std() > 20
    )  # digits in the upper row


def test_checkpoint_of_another_predictor_is_refused(tmp_path):
    torch.manual_seed(0)
    config, log = tiny_digits(tmp_path), tmp_path / 'output'
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), tmp_path / 'model.pth')
    argv = [config, tmp_path / 'model.pth', '--work-dir', tmp_path, '--cfg-options', 'model.value_channels=6']
    assert run_tool('test', argv, output=log) != 0
    assert 'the checkpoint does not fit VideoPredictor' in log.read_text()
