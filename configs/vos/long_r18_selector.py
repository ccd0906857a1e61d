# The selector alone, on sixteen-frame clips in which it must choose eleven times. It may not skip frames: on
# clips it learns that skipping keeps errors out of the memory, and then it loses objects that change slowly
# over hundreds of frames (docs/questions.md). Starts from long_r18.py (load_from).
_base_ = './long_r18.py'
max_iters = 300
load_from = 'work_dirs/long_r18/iter_600.pth'
model = dict(
    frozen=('key_encoder', 'value_encoder', 'decoder'),
    memory=dict(gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='Skip', allowed=False)]),
)
train_dataloader = dict(dataset=dict(clip_length=16, max_skip=20))
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
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
optim_wrapper = dict(optimizer=dict(lr=2e-4))
default_hooks = dict(checkpoint=dict(interval=40, max_keep_ckpts=1))
