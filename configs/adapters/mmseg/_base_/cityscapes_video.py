# Clips of Cityscapes' sequences for training, its snippets up to the labelled frame for testing. The names
# are apart from those of mmsegmentation's configs, so that a config can inherit both. Names of mmsegmentation
# say so, as everything in a config that is inherited as 'mmstremn::...' is looked for in this library first.
custom_imports = dict(imports=['mmstremn.adapters.mmseg'])
video_crop = (512, 1024)
video_data = dict(type='mmstremn.CityscapesSequenceDataset', data_root='data/cityscapes', before=9)
augmentation = [
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='mmseg.RandomCrop', crop_size=video_crop),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmseg.PhotoMetricDistortion'),
]
video_train_dataloader = dict(
    batch_size=1,  # clips
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='mmstremn.VideoClipBatchSampler', clip_length=4, max_skip=3),
    dataset=dict(
        **video_data,
        split='train',
        pipeline=[
            dict(type='mmstremn.LoadVideoFrame'),
            dict(type='mmstremn.ClipConsistent', transforms=augmentation),
            dict(type='mmseg.PackSegInputs'),
        ],
    ),
)
video_val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmstremn.VideoSampler'),
    dataset=dict(
        **video_data,
        split='val',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
            dict(type='mmstremn.LoadVideoFrame', image=False),
            dict(type='mmseg.PackSegInputs'),
        ],
    ),
)
video_evaluator = dict(type='mmstremn.VideoSegMetric')
# Frames without labels must not count in the mean.
video_loss = dict(type='CrossEntropyLoss', avg_non_ignore=True)
