# The small variant on the long benchmark, all but the selector: five-frame clips in which there is nothing to
# choose. Starts from stage 2 on real video (load_from). A quarter of an hour on one CPU core.
_base_ = ['../_base_/default_runtime.py', '../_base_/long_synthetic.py', '../_base_/vos_r18_small.py']
max_iters = 600
load_from = 'work_dirs/stremn_r18_video/iter_250.pth'
model = dict(frozen=('memory.selector',), memory=dict(num_slots=4, train_slots=4))
train_cfg = dict(
    type='SeekingIterTrainLoop', max_iters=max_iters, val_begin=max_iters, val_interval=max_iters
)
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
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=1))
