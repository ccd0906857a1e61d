"""Long-time Video and LVOS, and the data of the full-size recipes, built from their configs on tiny files."""

import json

import numpy as np
import pytest
from helpers.davis_tree import SIZE, add_sequence, draw_frame, draw_ids, save_ids
from helpers.photographs import add_pair
from helpers.runs import ROOT
from helpers.youtube_vos_tree import add_video
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from PIL import Image

from mmstremn.datasets import DAVISDataset, SampleRequest
from mmstremn.engine.launch import check_types
from mmstremn.evaluation import DAVISMetric
from mmstremn.registry import DATASETS, METRICS
from mmstremn.utils import encode_palette_png

CONFIGS = ROOT / 'configs'


def add_long_video(root, name, annotated, number=30, names='{:05d}', ids=(1, 2)):
    """A video without a folder of its resolution and without a list; masks of some frames alone."""
    for index in range(number):
        path = root / 'JPEGImages' / name / (names.format(index) + '.jpg')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_frame(draw_ids(index % 8, ids))).save(path)
        if index in annotated:
            save_ids(root / 'Annotations' / name / (names.format(index) + '.png'), draw_ids(index % 8, ids))


def evaluate(dataset, wrong=()):
    """DAVISMetric's figures where all is predicted right but the frames ``wrong``, which are empty."""
    evaluator = Evaluator(DAVISMetric())
    for index in range(len(dataset)):
        item = dataset[index]
        masks = [
            draw_ids(frame % 8, (1, 2)) * (frame not in wrong) for frame in range(item['inputs'].num_frames)
        ]
        item['data_samples'].pred_masks = [encode_palette_png(mask) for mask in masks]
        evaluator.process([item['data_samples']], dict(inputs=[item['inputs']]))
    return evaluator.evaluate(len(dataset))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function: a config whose `_base_` are the given files of configs, with the text that a user adds."""

    def load(bases, text, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        path = tmp_path / 'user_config.py'
        path.write_text(f'_base_ = {[str(CONFIGS / base) for base in bases]}\n{text}\n')
        cfg = Config.fromfile(path)
        check_types(cfg)
        return cfg

    return load


@pytest.mark.parametrize(
    'name, folder, names', [('long_time_video', '', '{:05d}'), ('lvos', 'valid', '{:08d}')]
)
def test_long_videos_are_scored_on_annotated_frames_alone(tmp_path, config, name, folder, names):
    root = tmp_path / 'long'
    for video in ('rat', 'blueboy'):
        add_long_video(root / folder, video, annotated=(0, 9, 21, 29), names=names)
    text = f'test_dataloader = dict(_delete_=True, **_base_.{name}_dataloader)'
    cfg = config(['stremn_davis.py', f'_base_/{name}.py'], text, **{f'MMSTREMN_{name.upper()}': root})
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert [dataset[index]['inputs'].name for index in range(2)] == ['blueboy', 'rat']
    video = dataset[0]['inputs']
    assert video.annotated == [0, 9, 21, 29] and video.num_frames == 30 and video.object_ids == [1, 2]
    assert video.frame_names[9] == names.format(9)
    others = [frame for frame in range(30) if frame not in (9, 21)]
    assert evaluate(dataset, wrong=others)['DAVIS/J&F'] == 1
    assert evaluate(dataset, wrong=[9])['DAVIS/J-Mean'] == pytest.approx(0.5)


def test_numbers_with_gaps_are_missing_frames_unless_the_layout_allows_them(tmp_path):
    add_long_video(tmp_path, 'rat', annotated=(0, 2, 3))
    (tmp_path / 'JPEGImages/rat/00004.jpg').unlink()
    layout = dict(split=None, resolution='', test_mode=True)
    with pytest.raises(FileNotFoundError, match=r'rat: missing frames, expected frame 4 after 3, found 5'):
        DAVISDataset(tmp_path, **layout)
    video = DAVISDataset(tmp_path, consecutive=False, **layout)[0]['inputs']
    assert video.num_frames == 29 and video.frame_names[4] == '00005'


def test_folders_that_are_missing_or_empty_are_named(tmp_path):
    layout = dict(split=None, resolution='', test_mode=True)
    with pytest.raises(FileNotFoundError, match='JPEGImages: no such folder'):
        DAVISDataset(tmp_path, **layout)
    (tmp_path / 'JPEGImages').mkdir()
    with pytest.raises(ValueError, match='JPEGImages: expected at least one folder of frames'):
        DAVISDataset(tmp_path, **layout)
    add_long_video(tmp_path, 'rat', annotated=())
    with pytest.raises(FileNotFoundError, match=r'Annotations/rat: no such folder'):
        DAVISDataset(tmp_path, **layout)
    save_ids(tmp_path / 'Annotations/rat/00000.png', draw_ids(0, size=(40, 60)))
    with pytest.raises(ValueError, match=r'rat/00000.png: 60 x 40 pixels, expected 64 x 48'):
        DAVISDataset(tmp_path, **layout)


def test_youtube_vos_config_gives_a_submission(tmp_path, config):
    root = tmp_path / 'yt'
    add_video(root / 'train', 'a', {1: 0})
    add_video(
        root / 'valid', 'b', {1: 0, 2: 3}, all_frames=root / 'all_frames/valid_all_frames', prompts_only=True
    )
    text = 'test_dataloader = dict(_delete_=True, **_base_.youtube_vos_dataloader)'
    text += '\ntest_evaluator = _base_.youtube_vos_evaluator'
    cfg = config(['stremn_davis.py', '_base_/youtube_vos.py'], text, MMSTREMN_YOUTUBE_VOS=root)
    video = DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs']
    assert video.num_frames == 36 and len(video.named_frames) == 8
    assert METRICS.build(cfg.test_evaluator).seen_categories == {'penguin'}


@pytest.mark.parametrize('name', ['stremn', 'stcn', 'xmem'])
def test_static_recipe_gives_clips(tmp_path, config, name):
    root = tmp_path / 'static'
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 30:70] = 1
    for folder, layout in (('fss', 'fss1000'), ('DUTS', 'duts'), ('ecssd', 'ecssd')):
        add_pair(root / folder, folder, mask, layout=layout)
    cfg = config([f'vos/{name}_r50_static.py'], '', MMSTREMN_STATIC_SETS=root)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    item = dataset[SampleRequest(1, 0, 20)]
    assert len(dataset) == 3 and item['inputs'].shape == (3, 3, 384, 384)
    assert cfg.model.get('frozen', ()) == (('memory.selector',) if name == 'stremn' else ())


@pytest.mark.parametrize('name, length, objects', [('stremn', 8, 3), ('stcn', 3, 2), ('xmem', 8, 3)])
def test_video_recipe_gives_clips_of_both_sets(tmp_path, config, name, length, objects):
    add_sequence(tmp_path, 'davis', [draw_ids(index) for index in range(10)], split='train')
    add_video(tmp_path / 'train', 'youtube', {1: 0, 3: 2})
    cfg = config([f'vos/{name}_r50_video.py'], '', MMSTREMN_DAVIS=tmp_path, MMSTREMN_YOUTUBE_VOS=tmp_path)
    cfg.train_dataloader.dataset.pipeline[1].size = (64, 64)
    cfg.train_dataloader.dataset.short_side = SIZE[0]
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 6 and [part.max_objects for part in dataset.datasets] == [objects] * 2
    for index in (0, 5):
        item = dataset[SampleRequest(index, 0, 25)]
        assert item['inputs'].shape == (length, 3, 64, 64)
    stage_1 = Config.fromfile(CONFIGS / f'vos/{name}_r50_static.py')
    assert cfg.load_from == f'work_dirs/{name}_r50_static/iter_{stage_1.max_iters}.pth'
    differences = {key for key in cfg.model if cfg.model[key] != stage_1.model.get(key)}
    assert differences <= {'frozen'}


def test_schedules_are_those_of_the_papers():
    def schedule(name):
        cfg = Config.fromfile(CONFIGS / f'vos/{name}.py')
        optimizer = cfg.optim_wrapper.optimizer
        milestones = cfg.param_scheduler[0].milestones if cfg.param_scheduler else None
        return (
            cfg.train_cfg.max_iters,
            cfg.train_dataloader.batch_size,
            optimizer.type,
            optimizer.lr,
            milestones,
        )

    assert schedule('stcn_r50_static') == (300000, 16, 'Adam', 1e-5, [150000])
    assert schedule('stcn_r50_video') == (150000, 8, 'Adam', 1e-5, [125000])
    assert schedule('xmem_r50_static') == (150000, 16, 'AdamW', 1e-5, None)
    assert schedule('xmem_r50_video') == (110000, 8, 'AdamW', 1e-5, [80000])
    skips = {}
    for name in ('stcn', 'xmem'):
        hooks = Config.fromfile(CONFIGS / f'vos/{name}_r50_video.py').custom_hooks
        skips[name] = next(hook.schedule for hook in hooks if hook.type == 'ClipSkipHook')
    assert json.loads(json.dumps(skips)) == dict(
        stcn=[[0.0, 5], [0.1, 10], [0.2, 15], [0.3, 20], [0.4, 25], [0.9, 5]],
        xmem=[[0.0, 5], [0.1, 10], [0.3, 15], [0.9, 5]],
    )
