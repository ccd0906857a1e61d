# The real model, data and hooks, as small as they get.
default_scope = 'mmstremn'
randomness = dict(seed=0)
model = dict(
    type='VOSegmentor',
    backbone=dict(type='TimmBackbone', model_name='test_resnet'),
    value_backbone=dict(type='TimmBackbone', model_name='test_resnet'),
    memory=dict(
        type='SlotMemory',
        num_slots=3,
        train_slots=2,
        selector=dict(type='GumbelSelector'),
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
    ),
    decoder=dict(type='MaskDecoder', channels=(16, 16, 16)),
    key_channels=8,
    value_channels=16,
)
train_dataloader = dict(
    dataset=dict(
        type='SyntheticVOSDataset',
        split='train',
        size=(48, 48),
        num_frames=8,
        clip_length=6,
        max_skip=2,
        max_objects=2,
    ),
    sampler=dict(type='IterationSampler'),
    batch_size=2,
    num_workers=0,
)
test_dataloader = dict(
    dataset=dict(type='SyntheticVOSDataset', split='dev', size=(48, 48), num_frames=6, num_videos=3),
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_size=1,
    num_workers=0,
)
test_evaluator = dict(type='DAVISMetric')
train_cfg = dict(type='SeekingIterTrainLoop', max_iters=6)
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=6, T_max=6)]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    checkpoint=dict(type='AtomicCheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=1),
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
)
custom_hooks = [
    dict(type='GumbelTemperatureHook', start=1.0, end=0.3),
    dict(type='SelectorStatisticsHook', interval=1, patience=6),
    dict(type='ClipSkipHook', schedule=[(0.0, 1), (0.5, 2)]),
    dict(type='SlotTimelineHook'),
]
