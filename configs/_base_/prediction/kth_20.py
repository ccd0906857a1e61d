# KTH, 10 -> 20 at 128 px, trained on 10 -> 10. MMSTREMN_KTH is the folder of the action folders.
max_iters = 100000
data_root = '{{$MMSTREMN_KTH:data/kth}}'
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(
        type='KTHDataset', data_root=data_root, split='train', input_frames=10, output_frames=10, size=128
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='KTHDataset',
        data_root=data_root,
        split='dev',
        input_frames=10,
        output_frames=20,
        size=128,
        max_clips=100,
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='KTHDataset', data_root=data_root, split='test', input_frames=10, output_frames=20, size=128
    ),
)
val_evaluator = test_evaluator = dict(type='VideoPredictionMetric')
train_cfg = dict(type='SeekingIterTrainLoop', max_iters=max_iters, val_interval=10000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0003, weight_decay=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [dict(type='OneCycleLR', eta_max=0.0003, total_steps=max_iters, by_epoch=False)]
