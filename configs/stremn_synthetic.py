# A small STReMN on the embedded data: no download, no weights, minutes on two CPU cores. `make demo` starts
# it from the checkpoint of vos/synthetic_short_clips.py (load_from); from random weights give it more
# iterations.
_base_ = ['./_base_/default_runtime.py']
max_iters = 160
size = (128, 128)
model = dict(
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='resnet10t', frozen_bn=False),
    value_backbone=dict(type='TimmBackbone', model_name='resnet10t', frozen_bn=False),
    memory=dict(
        type='SlotMemory',
        num_slots=4,
        train_slots=3,
        selector=dict(type='GumbelSelector'),
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
    ),
    decoder=dict(type='MaskDecoder', channels=(64, 64, 32)),
    key_channels=64,
    value_channels=128,
    loss=dict(type='BootstrappedCEDiceLoss', top_share=1.0),  # all pixels count, as the training is short
)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(
        type='SyntheticVOSDataset', split='train', size=size, clip_length=7, max_skip=3, max_objects=2
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticVOSDataset', split='dev', size=size, num_videos=10, num_frames=30, test_mode=True
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticVOSDataset', split='test', size=size, num_videos=10, num_frames=40, test_mode=True
    ),
)
val_evaluator = test_evaluator = dict(type='DAVISMetric')
train_cfg = dict(
    type='SeekingIterTrainLoop', max_iters=max_iters, val_begin=max_iters, val_interval=max_iters
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(custom_keys={'memory.selector': dict(lr_mult=4)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=20,
        end=max_iters,
        T_max=max_iters - 20,
        eta_min_ratio=0.02,
    ),
]
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=1))
