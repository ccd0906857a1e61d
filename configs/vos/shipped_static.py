# Stage 1 of the shipped weights: clips of three views of a photograph, in half of them an object of another
# one moves too, so that the salient object is not always the one asked for. Nothing is to be chosen in three
# frames: no selector learns. The data's place: environment variable MMSTREMN_STATIC.
_base_ = ['../_base_/default_runtime.py', '../_base_/davis.py', '../_base_/vos_r18_shipped.py']
static_root = '{{$MMSTREMN_STATIC:data/static}}'
max_iters = 2200
model = dict(
    frozen=('memory.selector', 'key_encoder.backbone.model.conv1', 'key_encoder.backbone.model.layer1'),
    loss=dict(type='BootstrappedCEDiceLoss', begin_iter=max_iters // 3, end_iter=max_iters, top_share=0.3),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        type='StaticClipDataset',
        sources=[dict(data_root=static_root)],
        clip_length=3,
        max_objects=2,
        pipeline=[
            dict(
                type='ClipTransform',
                name='RandomResizedCrop',
                size=(208, 208),
                scale=(0.3, 1.0),
                ratio=(0.75, 1.33),
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
            dict(type='ClipTransform', name='RandomGrayscale', p=0.05),
            dict(
                type='ClipTransform',
                name='RandomAffine',
                per_frame=True,
                degrees=20,
                shear=10,
                scale=(0.75, 1.3),
                translate=(0.12, 0.12),
            ),
            dict(type='ThinPlateWarp', scale=0.02, p=0.33),
            dict(
                type='ClipTransform',
                name='ColorJitter',
                per_frame=True,
                brightness=0.1,
                contrast=0.1,
                saturation=0.1,
            ),
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
optim_wrapper = dict(
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(
        custom_keys={'key_encoder.backbone': dict(lr_mult=0.2), 'value_encoder.backbone': dict(lr_mult=0.5)}
    ),
)
default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
