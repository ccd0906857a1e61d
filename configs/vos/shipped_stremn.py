# Stage 2 of the shipped weights: eight-frame clips, in which the selector must choose at least four times;
# half of them from videos, half from photographs, since the videos at hand are few. Starts from stage 1
# (load_from). The data's places: environment variables MMSTREMN_DAVIS and MMSTREMN_STATIC.
_base_ = './shipped_static.py'
max_iters = 600
load_from = 'work_dirs/shipped_static/iter_2200.pth'
model = dict(
    frozen=('key_encoder.backbone.model.conv1', 'key_encoder.backbone.model.layer1'),
    loss=dict(begin_iter=0, end_iter=1, top_share=0.3),
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        _delete_=True,
        type='WeightedVOSDataset',
        datasets=[
            dict(
                type='DAVISDataset',
                data_root=_base_.davis_root,
                split='train',
                short_side=288,
                max_skip=10,
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
                    dict(type='ClipTransform', name='RandomAffine', per_frame=True, degrees=10, shear=5),
                    dict(type='PackClip'),
                ],
            ),
            dict(_base_.train_dataloader.dataset, clip_length=8),
        ],
        weights=[100, 1],
        clip_length=8,
        max_objects=2,
    ),
)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
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
