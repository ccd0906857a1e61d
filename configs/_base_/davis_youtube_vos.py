# The video stage of STCN and XMem: DAVIS 2017 five times and YouTube-VOS (hkchengrex/XMem train.py). Taken
# with
# train_dataloader = dict(_delete_=True, **_base_.davis_youtube_vos_dataloader)
# The data's places: environment variables MMSTREMN_DAVIS and MMSTREMN_YOUTUBE_VOS.
davis_youtube_vos_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(
        type='WeightedVOSDataset',
        datasets=[
            dict(type='DAVISDataset', data_root='{{$MMSTREMN_DAVIS:data/DAVIS}}', split='train'),
            dict(
                type='YouTubeVOSDataset', data_root='{{$MMSTREMN_YOUTUBE_VOS:data/YouTubeVOS}}', split='train'
            ),
        ],
        weights=[5, 1],
        clip_length=8,
        max_skip=5,
        max_objects=3,
        short_side=480,
        reverse_prob=0.5,
        pipeline=[
            dict(type='ClipTransform', name='RandomHorizontalFlip'),
            dict(type='ClipTransform', name='RandomResizedCrop', size=(384, 384), scale=(0.36, 1.0)),
            dict(type='ClipTransform', name='ColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
            dict(type='ClipTransform', name='Grayscale', num_output_channels=3, p=0.05),
            dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=15, shear=10),
            dict(type='PackClip'),
        ],
    ),
)
