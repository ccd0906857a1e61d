default_scope = 'mmstremn'
custom_imports = dict(imports=['tiny_modules'])
randomness = dict(seed=0)
model = dict(type='TinySegmentor')
train_dataloader = dict(
    dataset=dict(type='TinyDataset'), sampler=dict(type='IterationSampler'), batch_size=2, num_workers=0
)
test_dataloader = dict(
    dataset=dict(type='TinyDataset', length=3, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_size=1,
    num_workers=0,
)
val_dataloader = test_dataloader
test_evaluator = dict(type='DAVISMetric')
val_evaluator = test_evaluator
train_cfg = dict(type='SeekingIterTrainLoop', max_iters=12, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1))
param_scheduler = dict(type='PolyLR', by_epoch=False, begin=0, end=12)
log_processor = dict(by_epoch=False)
custom_hooks = [dict(type='SlotTimelineHook')]
default_hooks = dict(
    checkpoint=dict(
        type='AtomicCheckpointHook',
        interval=3,
        by_epoch=False,
        max_keep_ckpts=1,
        save_best='DAVIS/J&F',
        rule='greater',
    ),
    logger=dict(type='LoggerHook', interval=3),
)
