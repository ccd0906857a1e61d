# DAVIS 2017 (or data in its layout): eight-frame training clips, whole test videos.
# The data's place: environment variable MMSTREMN_DAVIS.
davis_root = '{{$MMSTREMN_DAVIS:data/DAVIS}}'
crop_size = (384, 384)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(
        type='DAVISDataset',
        data_root=davis_root,
        split='train',
        clip_length=8,
        max_skip=5,
        max_objects=2,
        pipeline=[
            dict(type='ClipTransform', name='RandomResizedCrop', size=crop_size, scale=(0.36, 1.0)),
            dict(type='ClipTransform', name='RandomHorizontalFlip'),
            dict(
                type='ClipTransform',
                name='ColorJitter',
                brightness=0.1,
                contrast=0.05,
                saturation=0.05,
                hue=0.02,
            ),
            dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=15, shear=10),
            dict(type='PackClip'),
        ],
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DAVISDataset', data_root=davis_root, split='val', test_mode=True),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='DAVISMetric')
val_evaluator = test_evaluator
