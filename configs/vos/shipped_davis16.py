# Stage 3 of the shipped weights: eight-frame clips of DAVIS 2016 train (more frames apart, larger crops than
# stage 2), of the short sequences and of photographs with one and several objects; averaged weights. Starts
# from the shipped weights. The data's places: environment variables MMSTREMN_DAVIS (DAVIS 2016 train),
# MMSTREMN_VIDEO (the short sequences of shipped_stremn.py), MMSTREMN_STATIC and MMSTREMN_STATIC_MULTI.
_base_ = './shipped_stremn.py'
video_root = '{{$MMSTREMN_VIDEO:data/video}}'
static_multi_root = '{{$MMSTREMN_STATIC_MULTI:data/static-multi}}'
max_iters = 1000
load_from = 'weights/stremn_r18.safetensors'
video_clips, photographs = _base_.train_dataloader.dataset.datasets
davis_pipeline = [
    dict(
        type='ClipTransform',
        name='RandomResizedCrop',
        size=(240, 240),
        scale=(0.3, 1.0),
        ratio=(0.75, 1.33),
    ),
    *video_clips.pipeline[1:],
]
photograph_pipeline = [davis_pipeline[0], *photographs.pipeline[1:]]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WeightedVOSDataset',
        datasets=[
            dict(video_clips, pipeline=davis_pipeline, max_skip=5),
            dict(video_clips, pipeline=davis_pipeline, data_root=video_root),
            dict(photographs, pipeline=photograph_pipeline),
            dict(
                photographs,
                pipeline=photograph_pipeline,
                sources=[dict(data_root=static_multi_root)],
                max_objects=3,
            ),
        ],
        weights=[130, 24, 0.4, 3],
        clip_length=8,
        max_objects=2,
    ),
)
dev_sets = [
    dict(type='DAVISDataset', data_root=root, split='dev') for root in (_base_.davis_root, video_root)
]
val_dataloader = dict(
    dataset=dict(_delete_=True, type='WeightedVOSDataset', datasets=dev_sets, test_mode=True)
)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters + 1, val_interval=max_iters + 1)
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
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.02)]
default_hooks = dict(checkpoint=dict(interval=25, max_keep_ckpts=1), logger=dict(interval=10))
