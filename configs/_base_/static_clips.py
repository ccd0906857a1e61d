# The static stage of STCN and XMem: clips of three views of one photograph (hkchengrex/STCN
# dataset/static_dataset.py). Taken with
# train_dataloader = dict(_delete_=True, **_base_.static_dataloader)
# The data's place: environment variable MMSTREMN_STATIC_SETS, with FSS-1000 in fss, DUTS in DUTS and ECSSD in
# ecssd as their authors pack them. Both papers add BIG and HRSOD five times: dict(data_root=...,
# layout='fss1000', weight=5), pictures (.jpg) beside their masks (.png).
static_sets = '{{$MMSTREMN_STATIC_SETS:data/static_sets}}'
static_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='IterationSampler'),
    dataset=dict(
        type='StaticClipDataset',
        sources=[
            dict(data_root=static_sets + '/fss', layout='fss1000', weight=1),
            dict(data_root=static_sets + '/DUTS', layout='duts', weight=1),
            dict(data_root=static_sets + '/ecssd', layout='ecssd', weight=1),
        ],
        clip_length=3,
        on_corrupt='skip',
        pipeline=[
            dict(type='ClipTransform', name='Resize', size=384),
            dict(type='ClipTransform', name='RandomAffine', degrees=0, scale=(0.8, 1.5)),
            dict(type='ClipTransform', name='RandomHorizontalFlip'),
            dict(
                type='ClipTransform',
                name='ColorJitter',
                brightness=0.1,
                contrast=0.05,
                saturation=0.05,
                hue=0.05,
            ),
            dict(type='ClipTransform', name='Grayscale', num_output_channels=3, p=0.05),
            dict(
                type='ClipTransform',
                name='RandomAffine',
                per_frame=True,
                degrees=20,
                scale=(0.9, 1.1),
                shear=10,
            ),
            dict(
                type='ClipTransform', name='RandomCrop', per_frame=True, size=(384, 384), pad_if_needed=True
            ),
            dict(
                type='ClipTransform',
                name='ColorJitter',
                per_frame=True,
                brightness=0.1,
                contrast=0.05,
                saturation=0.05,
            ),
            dict(type='ThinPlateWarp', scale=0.02, p=0.33),
            dict(type='PackClip'),
        ],
    ),
)
