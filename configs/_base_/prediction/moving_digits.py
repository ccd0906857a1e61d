# Moving Digits, 10 -> 10 at 32 px: real handwritten digits on the trajectories of Moving MNIST, embedded.
# Minutes on a CPU.
max_iters = 1000
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(type='MovingDigitsDataset', split='train', input_frames=10, output_frames=10, size=32),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MovingDigitsDataset', split='dev', input_frames=10, output_frames=10, size=32, max_clips=100
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MovingDigitsDataset', split='test', input_frames=10, output_frames=10, size=32),
)
val_evaluator = test_evaluator = dict(type='VideoPredictionMetric')
train_cfg = dict(type='SeekingIterTrainLoop', max_iters=max_iters, val_interval=100)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [dict(type='OneCycleLR', eta_max=0.001, total_steps=max_iters, by_epoch=False)]
