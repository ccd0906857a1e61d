# Stage 1 of the small variant: clips of three views of one photograph. Sized for about 30 minutes on a CPU
# core. The data's place: environment variable MMSTREMN_STATIC. The selector has nothing to choose here, so it
# is frozen, and the result is a starting point for any SlotMemory.
_base_ = ['../_base_/default_runtime.py', '../_base_/davis.py', '../_base_/vos_r18_small.py']
static_root = '{{$MMSTREMN_STATIC:data/static}}'
max_iters = 850
model = dict(frozen=('memory.selector',))
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        type='StaticImageDataset',
        data_root=static_root,
        clip_length=3,
        pipeline=[
            dict(
                type='ClipTransform',
                name='RandomResizedCrop',
                size=(192, 192),
                scale=(0.5, 1.0),
                ratio=(0.8, 1.25),
            ),
            dict(type='ClipTransform', name='RandomHorizontalFlip'),
            dict(
                type='ClipTransform',
                name='ColorJitter',
                brightness=0.2,
                contrast=0.2,
                saturation=0.2,
                hue=0.03,
            ),
            dict(
                type='ClipTransform',
                name='RandomAffine',
                per_frame=True,
                degrees=20,
                shear=10,
                scale=(0.8, 1.25),
                translate=(0.1, 0.1),
            ),
            dict(type='ClipTransform', name='ColorJitter', per_frame=True, brightness=0.1, contrast=0.1),
            dict(type='PackClip'),
        ],
    ),
)
# Public DAVIS has no list dev.txt: write one, or set split='val' (docs/training.md).
val_dataloader = dict(dataset=dict(split='dev', short_side=240))
train_cfg = dict(
    type='SeekingIterTrainLoop', max_iters=max_iters, val_begin=max_iters, val_interval=max_iters
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=50,
        end=max_iters,
        T_max=max_iters - 50,
        eta_min_ratio=0.05,
    ),
]
default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
