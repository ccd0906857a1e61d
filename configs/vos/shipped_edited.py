# Stage 4 of the shipped weights: the clips of stage 3, half of them edited so that objects go, hide and come
# back. Starts from stage 3 (load_from), whose data's places it needs.
_base_ = './shipped_davis16.py'
max_iters = 220
load_from = 'work_dirs/shipped_davis16/iter_1000.pth'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='EditedClips',
        dataset=_base_.train_dataloader.dataset,
        clip_length=8,
        edits=dict(cut_away=1, hide=1, erase=1, transplant=1, none=4),
    )
)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters + 1, val_interval=max_iters + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=10),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=10,
        end=max_iters,
        T_max=max_iters - 10,
        eta_min_ratio=0.05,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=5e-5))
