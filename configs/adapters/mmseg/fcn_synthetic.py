# A small FCN on the embedded videos, frame by frame: what fcn_memory_synthetic.py starts from.
_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['mmstremn.adapters.mmseg'])
iterations, size, noise, hidden = 600, (64, 64), 100.0, 0.4
norm_cfg = dict(type='BN')
model = dict(
    _scope_='mmseg',  # also where this config is inherited as 'mmstremn::...'
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[128.0] * 3,
        std=[64.0] * 3,
        bgr_to_rgb=True,
        size=size,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        base_channels=24,
        stem_channels=24,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=48,
        in_index=1,
        channels=48,
        num_convs=2,
        num_classes=5,
        norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', class_weight=[0.3, 1.0, 1.0, 1.0, 1.0]),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
disturbance = dict(type='mmstremn.DisturbFrame', noise=noise, hidden=hidden)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler'),
    batch_sampler=dict(type='mmstremn.VideoClipBatchSampler', clip_length=5),
    dataset=dict(
        type='mmstremn.SyntheticVideoSegDataset',
        split='train',
        num_videos=60,
        num_frames=12,
        size=size,
        pipeline=[
            dict(type='mmstremn.LoadVideoFrame'),
            dict(type='mmstremn.ClipConsistent', transforms=[dict(type='RandomFlip', prob=0.5)]),
            disturbance,
            dict(type='mmseg.PackSegInputs'),
        ],
    ),
)
# What mmseg.apis.inference_model and segment_video do to a picture.
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='mmseg.PackSegInputs')]
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='mmstremn.VideoSampler'),
    dataset=dict(
        type='mmstremn.SyntheticVideoSegDataset',
        split='test',
        num_videos=12,
        num_frames=16,
        size=size,
        pipeline=[
            dict(type='LoadImageFromFile'),  # which mmseg.apis.MMSegInferencer looks for
            dict(type='mmstremn.LoadVideoFrame', image=False),
            disturbance,
            dict(type='mmseg.PackSegInputs'),
        ],
    ),
)
test_evaluator = dict(type='mmstremn.VideoSegMetric', windows=(8,))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=iterations, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=iterations))
randomness = dict(seed=0)
