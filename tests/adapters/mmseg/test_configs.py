"""The configs of the adapter inherit from mmsegmentation's own, are short and build unmodified models."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')


import torch
from helpers.mmseg_cases import build_data  # skips without mmsegmentation
from helpers.runs import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS

FOLDER = ROOT / 'configs/adapters/mmseg'
CITYSCAPES = sorted(FOLDER.glob('*_cityscapes.py'))
INNER = {
    'fcn': 'FCNHead',
    'deeplabv3plus': 'DepthwiseSeparableASPPHead',
    'upernet': 'UPerHead',
    'segformer': 'SegformerHead',
}


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The names of a Cityscapes sequence, for data sets that look for files without reading them."""
    folder = tmp_path_factory.mktemp('cityscapes')
    for split in ('train', 'val'):
        sequence, labels = folder / f'leftImg8bit_sequence/{split}/ulm', folder / f'gtFine/{split}/ulm'
        for made in (sequence, labels):
            made.mkdir(parents=True)
        for frame in range(30):
            (sequence / f'ulm_000000_{frame:06d}_leftImg8bit.png').touch()
        (labels / 'ulm_000000_000019_gtFine_labelTrainIds.png').touch()
    return folder


def shrink(model):
    """A narrow variant of the same kind, for speed."""
    backbone, head = model.backbone, model.decode_head
    model.pop('pretrained', None)
    backbone.pop('init_cfg', None)
    if backbone.type == 'ResNetV1c':
        backbone.update(depth=18, base_channels=8, stem_channels=8, norm_cfg=dict(type='BN'))
        narrow = {2048: 64, 1024: 32, 512: 16, 256: 8}
    else:
        backbone.update(embed_dims=8, num_heads=[1, 1, 1, 1], num_layers=[1, 1, 1, 1])
        narrow = {32: 8, 64: 8, 160: 8, 256: 8}
    for inner in filter(None, (head.head, model.get('auxiliary_head'))):
        channels = inner.in_channels
        inner.in_channels = narrow[channels] if isinstance(channels, int) else [narrow[c] for c in channels]
        inner.update(channels=8, norm_cfg=dict(type='BN'))
        if inner.type == 'DepthwiseSeparableASPPHead':
            inner.update(c1_in_channels=8, c1_channels=4)
    head.update(key_channels=8, value_channels=8)
    return model


def test_there_are_the_four():
    assert {path.stem.partition('_')[0] for path in CITYSCAPES} == set(INNER)


def inherited(path):
    """A config of another project that begins with this one; mmengine looks for its names in our scope."""
    return Config.fromstring(f"_base_ = 'mmstremn::{path.relative_to(ROOT / 'configs')}'", '.py')


@pytest.mark.parametrize('read', [Config.fromfile, inherited])
@pytest.mark.parametrize('path', CITYSCAPES, ids=lambda path: path.stem)
def test_config(path, read, root):
    text = path.read_text()
    assert len(text.splitlines()) <= 25 and "'mmseg::" in text
    cfg = read(path)
    assert cfg.default_scope == 'mmseg' and cfg.model.type == 'EncoderDecoder'
    inner = cfg.model.decode_head.head
    assert inner.type == INNER[path.stem.partition('_')[0]] and inner.num_classes == 19
    assert inner.loss_decode.avg_non_ignore
    assert cfg.model.test_cfg == dict(mode='whole')
    METRICS.build(cfg.test_evaluator)
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.test_dataloader, 'val')):
        loader.dataset.data_root = str(root)
        dataset = DATASETS.build(loader.dataset)
        assert dataset.split == split and len(dataset) == 10
        sampler = DATA_SAMPLERS.build(loader.sampler, default_args=dict(dataset=dataset, seed=0))
    batches = cfg.train_dataloader.batch_sampler
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(cfg.train_dataloader.sampler, default_args=dict(dataset=dataset, seed=0))
    batch = next(iter(DATA_SAMPLERS.build(batches, default_args=dict(sampler=sampler, batch_size=1))))
    assert len(batch) == 4 and batch[-1].index == 9

    torch.manual_seed(0)
    model = MODELS.build(shrink(cfg.model))
    assert type(model) is EncoderDecoder
    model.data_preprocessor.size = (64, 96)
    videos = build_data(num_videos=1, num_frames=3, size=(64, 96))
    batch = model.data_preprocessor(pseudo_collate([videos[i] for i in range(3)]), True)
    total = model.parse_losses(model.train()(**batch, mode='loss'))[0]
    total.backward()
    assert total.isfinite() and model.decode_head.feature_memory.out.weight.grad.any()
    model.eval()
    with torch.no_grad():
        for frame in range(2):
            model.test_step(pseudo_collate([videos[frame]]))


@pytest.mark.parametrize('name', ['fcn_synthetic', 'fcn_memory_synthetic'])
def test_the_embedded_videos_serve_other_projects(name):
    cfg = inherited(FOLDER / f'{name}.py')
    assert type(MODELS.build(cfg.model)) is EncoderDecoder
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert 'data_samples' in DATASETS.build(loader.dataset)[0]


def test_the_study_gives_the_fcn_a_memory():
    plain, memory = (Config.fromfile(FOLDER / f'{name}_synthetic.py') for name in ('fcn', 'fcn_memory'))
    assert memory.model.decode_head.head == plain.model.decode_head
    memory.model.decode_head = plain.model.decode_head
    assert memory.model == plain.model and memory.train_dataloader == plain.train_dataloader
    assert memory.load_from == f'work_dirs/fcn_synthetic/iter_{plain.train_cfg.max_iters}.pth'
