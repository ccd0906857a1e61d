# The selector and everything else together, on twelve-frame clips in which it must choose seven times. Starts
# from long_r18.py (load_from). Rules are trained the same with --cfg-options
# model.memory.selector.type=FIFOSelector.
_base_ = './long_r18.py'
max_iters = 300
load_from = 'work_dirs/long_r18/iter_600.pth'
model = dict(frozen=())
train_dataloader = dict(dataset=dict(clip_length=12, max_skip=20))
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
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(custom_keys=dict(memory=dict(lr_mult=10))))
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=1))
