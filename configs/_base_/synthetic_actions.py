# Action recognition over embedded clips: TokenClassifier with one token a frame. Under 3 minutes on one CPU
# core.
max_iters = 600
model = dict(
    type='TokenClassifier',
    backbone=dict(type='TimmBackbone', model_name='test_resnet', strides=(4,), frozen_bn=False),
    num_classes=6,
    key_channels=64,
    value_channels=128,
)
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='IterationSampler'),
    dataset=dict(type='SyntheticActionDataset', split='train'),
)
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SyntheticActionDataset', split='dev', num_clips=300),
)
test_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SyntheticActionDataset', split='test', num_clips=600),
)
val_evaluator = test_evaluator = dict(type='ClipAccuracy')
train_cfg = dict(
    type='SeekingIterTrainLoop', max_iters=max_iters, val_begin=max_iters, val_interval=max_iters
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
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
