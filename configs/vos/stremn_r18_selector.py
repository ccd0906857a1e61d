# Stage 3 of the small variant: the selector alone, on ten-frame clips in which it must choose seven times.
# Starts from the checkpoint of stage 2 (load_from); everything else stays as it is, so any other memory can
# be tested with its checkpoint.
_base_ = './stremn_r18_video.py'
max_iters = 60
load_from = 'work_dirs/stremn_r18_video/iter_250.pth'
model = dict(
    frozen=('key_encoder', 'value_encoder', 'decoder'),
    memory=dict(gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='Skip', allowed=False)]),
)
train_dataloader = dict(dataset=dict(clip_length=10, max_skip=8))
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
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=1))
