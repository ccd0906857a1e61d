# stremn_davis.py in mmengine's pure-Python style: classes instead of names and imports instead of `_base_`,
# which an editor can follow. The data's place: environment variable MMSTREMN_DAVIS.
import os

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.runner import TestLoop, ValLoop
from torch.optim import AdamW

from mmstremn.datasets import ClipTransform, DAVISDataset, IterationSampler, PackClip
from mmstremn.engine import (
    ClipSkipHook,
    FiniteLossHook,
    GumbelTemperatureHook,
    SeekingIterTrainLoop,
    SelectorStatisticsHook,
    SlotTimelineHook,
)
from mmstremn.evaluation import DAVISMetric
from mmstremn.memory import EmptyFirst, GumbelSelector, KeepFirst, SlotMemory
from mmstremn.models import MaskDecoder, TimmBackbone, VOSegmentor

with read_base():
    from ._base_.default_runtime import *  # noqa: F403

davis_root = os.environ.get('MMSTREMN_DAVIS', 'data/DAVIS')
del os  # a config holds no module
crop_size = (384, 384)
max_iters = 20000
model = dict(
    type=VOSegmentor,
    backbone=dict(type=TimmBackbone, model_name='resnet50', pretrained=True),
    value_backbone=dict(type=TimmBackbone, model_name='resnet18', pretrained=True),
    memory=dict(
        type=SlotMemory,
        num_slots=5,
        train_slots=3,
        selector=dict(type=GumbelSelector),
        gates=[dict(type=EmptyFirst), dict(type=KeepFirst)],
    ),
    decoder=dict(type=MaskDecoder, channels=(512, 256, 256)),
    key_channels=64,
    value_channels=256,
    short_side=480,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=IterationSampler),
    dataset=dict(
        type=DAVISDataset,
        data_root=davis_root,
        split='train',
        clip_length=8,
        max_skip=5,
        max_objects=2,
        pipeline=[
            dict(type=ClipTransform, name='RandomResizedCrop', size=crop_size, scale=(0.36, 1.0)),
            dict(type=ClipTransform, name='RandomHorizontalFlip'),
            dict(
                type=ClipTransform,
                name='ColorJitter',
                brightness=0.1,
                contrast=0.05,
                saturation=0.05,
                hue=0.02,
            ),
            dict(type=ClipTransform, name='RandomAffine', per_frame=True, degrees=15, shear=10),
            dict(type=PackClip),
        ],
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=DAVISDataset, data_root=davis_root, split='val', test_mode=True),
)
val_dataloader = test_dataloader
val_evaluator = test_evaluator = dict(type=DAVISMetric)
train_cfg = dict(type=SeekingIterTrainLoop, max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        custom_keys={'key_encoder.backbone': dict(lr_mult=0.1), 'memory.selector': dict(lr_mult=10)}
    ),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(
        type=MultiStepLR, by_epoch=False, milestones=[int(max_iters * 0.8), int(max_iters * 0.95)], gamma=0.1
    ),
]
custom_hooks = [
    dict(type=GumbelTemperatureHook, start=1.0, end=0.3),
    dict(type=ClipSkipHook, schedule=[(0.0, 5), (0.1, 10), (0.2, 15), (0.3, 20), (0.4, 25), (0.9, 5)]),
    dict(type=SelectorStatisticsHook),
    dict(type=SlotTimelineHook),
    dict(type=FiniteLossHook),
]
auto_scale_lr = dict(base_batch_size=4)
