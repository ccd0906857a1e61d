# Stages 3 and 4 of the shipped weights in one, and longer: the clips of stage 3 at 256 pixels, cut from
# larger frames, more of them photographs, a fifth of them edited so that objects go, hide and come back;
# averaged weights. Starts from the shipped weights; needs the data's places of stage 3.
_base_ = './shipped_davis16.py'
max_iters = 1600
clips = _base_.train_dataloader.dataset
davis, video, photographs, several = clips.datasets
crop = dict(
    type='ClipTransform', name='RandomResizedCrop', size=(256, 256), scale=(0.2, 1.0), ratio=(0.75, 1.33)
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EditedClips',
        dataset=dict(
            clips,
            datasets=[
                dict(davis, pipeline=[crop, *davis.pipeline[1:]], short_side=384),
                dict(video, pipeline=[crop, *video.pipeline[1:]], short_side=384),
                dict(photographs, pipeline=[crop, *photographs.pipeline[1:]]),
                dict(several, pipeline=[crop, *several.pipeline[1:]]),
            ],
            weights=[100, 24, 0.8, 3],
        ),
        clip_length=8,
        edits=dict(cut_away=1, hide=1, erase=1, transplant=1, none=16),
    )
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
optim_wrapper = dict(optimizer=dict(lr=1.5e-4))
