# Fine-tuning on masks of one's own, few and sparse ones too (docs/your_own_videos.md). A few minutes on a
# GPU. The data's place: environment variable MMSTREMN_OWN, a folder that tools/dataset_converters/to_davis.py
# wrote. Starts from the weights of the repository, or from those that the environment variable
# MMSTREMN_CHECKPOINT names. The selector stays as it is: a few masks do not teach it.
_base_ = ['../_base_/default_runtime.py', '../_base_/davis.py', '../_base_/vos_r18_shipped.py']
own_root = '{{$MMSTREMN_OWN:data/own}}'
load_from = '{{$MMSTREMN_CHECKPOINT:weights/stremn_r18.safetensors}}'
max_iters = 200
model = dict(
    backbone=dict(checkpoint=None),
    value_backbone=dict(checkpoint=None),
    frozen=('memory.selector',),
    loss=dict(type='BootstrappedCEDiceLoss', top_share=1.0),  # all pixels count, as the training is short
)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        data_root=own_root,
        short_side=352,
        clip_length=4,
        max_skip=5,
        max_objects=3,
        void_before_first=True,
        pipeline=[
            dict(
                type='ClipTransform',
                name='RandomResizedCrop',
                size=(288, 288),
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
test_dataloader = dict(dataset=dict(data_root=own_root))
val_dataloader = val_evaluator = val_cfg = (
    None  # a video with a mask or two can be trained on, but not scored
)
train_cfg = dict(type='SeekingIterTrainLoop', max_iters=max_iters)
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
optim_wrapper = dict(optimizer=dict(lr=5e-5))
default_hooks = dict(checkpoint=dict(interval=100, max_keep_ckpts=1))
