"""Tiny mmsegmentation models and clips for the tests of the adapter; skips them where mmsegmentation is
missing."""

import pytest
import torch

pytest.importorskip('mmseg', reason='needs the extra mmseg')

from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS

import mmstremn.adapters.mmseg  # noqa: F401  (registers)

SIZE = (32, 48)
NORM = dict(type='BN')
FIFO = dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'))
CHANNELS = (8, 16, 32, 64)
FCN = dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1)
BACKBONE = dict(
    type='ResNetV1c',
    depth=18,
    base_channels=8,
    stem_channels=8,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    contract_dilation=True,
    norm_cfg=NORM,
)
PLAIN_PIPELINE = [dict(type='mmstremn.LoadVideoFrame'), dict(type='PackSegInputs')]


def remember(head, memory=None, **kwargs) -> dict:
    """The config of a head with a memory."""
    widths = dict(key_channels=8, value_channels=8)
    return dict(type='mmstremn.MemoryDecodeHead', head=head, memory=memory or FIFO) | widths | kwargs


def build_model(head, backbone=None, seed=0, num_classes=5, **kwargs):
    """A small random ``EncoderDecoder`` in evaluation mode."""
    inner = dict(head.get('head', head), num_classes=num_classes)
    if inner['type'] not in ('mmstremn.MaskDecoderHead', 'DPTHead'):
        inner.setdefault('norm_cfg', NORM)
    head = dict(head, head=inner) if 'head' in head else inner
    preprocessor = dict(
        type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3, bgr_to_rgb=True, size=SIZE
    )
    cfg = dict(
        type='EncoderDecoder', data_preprocessor=preprocessor, backbone=backbone or BACKBONE, decode_head=head
    )
    torch.manual_seed(seed)
    return MODELS.build(ConfigDict(cfg | dict(train_cfg={}, test_cfg=dict(mode='whole')) | kwargs)).eval()


def build_data(pipeline=PLAIN_PIPELINE, **kwargs):
    """A few embedded videos."""
    settings = dict(num_videos=3, num_frames=6, size=SIZE) | kwargs
    return DATASETS.build(dict(type='mmstremn.SyntheticVideoSegDataset', pipeline=pipeline, **settings))


def predict(model, dataset, indices) -> torch.Tensor:
    """The logits (N, K, H, W) of frames given one by one."""
    with torch.no_grad():
        return torch.stack(
            [model.test_step(pseudo_collate([dataset[i]]))[0].seg_logits.data for i in indices]
        )


def losses(model, dataset, requests) -> dict:
    """The losses of a batch."""
    data = model.data_preprocessor(pseudo_collate([dataset[request] for request in requests]), True)
    return model(**data, mode='loss')


def wake(model, seed=1) -> None:
    """Give the memory weights with which it changes something."""
    torch.manual_seed(seed)
    with torch.no_grad():
        model.decode_head.feature_memory.out.weight.normal_(0, 10)
