# The long benchmark: embedded videos of 200 to 2,000 frames at 128 px in which what a memory keeps decides.
# Training clips span up to a few hundred frames of scenes that are never seen twice.
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(type='LongSyntheticVOSDataset', split='train', clip_length=5, max_skip=25),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='LongSyntheticVOSDataset', split='dev', test_mode=True),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='LongSyntheticVOSDataset', split='test', test_mode=True),
)
val_evaluator = test_evaluator = dict(type='DAVISMetric')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
