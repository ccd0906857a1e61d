# Stage 3 of the shipped weights: eight-frame clips of DAVIS 2016 train, of the short sequences and of
# photographs, two thirds of them edited so that objects go and come back. All but the key encoder's backbone
# learns; starts from the weights of absence_head.py. Not run to its end so far (docs/training_log.md).
_base_ = './absence_head.py'
max_iters = 350
load_from = 'work_dirs/absence_head/iter_48.pth'
model = dict(frozen=('key_encoder.backbone',))
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        clip_length=8,
        edits=dict(cut_away=1, hide=1, erase=1, transplant=1, none=3),
        dataset=dict(
            datasets=[
                dict(_base_.video_clips, max_skip=5),
                dict(_base_.video_clips, data_root=_base_.video_root),
                dict(_base_.train_dataloader.dataset.dataset.datasets[2], clip_length=8),
            ],
            weights=[120, 20, 1],
        ),
    ),
)
train_cfg = dict(max_iters=max_iters)
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
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(custom_keys={'presence': dict(lr_mult=20), 'memory.selector': dict(lr_mult=3)}),
)
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.02)]
default_hooks = dict(checkpoint=dict(interval=25, max_keep_ckpts=1))
