# Stage 2 of the small variant: eight-frame clips, in which the selector must choose at least four times.
# Starts from the checkpoint of stage 1 (load_from). Sized for a quarter of an hour on one CPU core.
_base_ = ['../_base_/default_runtime.py', '../_base_/davis.py', '../_base_/vos_r18_small.py']
max_iters = 250
load_from = 'work_dirs/stremn_r18_static/iter_850.pth'
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        short_side=288,
        max_skip=10,
        pipeline=[
            dict(
                type='ClipTransform',
                name='RandomResizedCrop',
                size=(208, 208),
                scale=(0.36, 1.0),
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
            dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=10, shear=5),
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
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=20,
        end=max_iters,
        T_max=max_iters - 20,
        eta_min_ratio=0.05,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1e-4))
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=1))
