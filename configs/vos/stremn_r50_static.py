# Stage 1 of STReMN at full size: photographs. There is nothing to choose in clips of three frames: the
# selector is frozen.
_base_ = ['../stremn_davis.py', '../_base_/static_clips.py']
max_iters = 80000
model = dict(frozen=('memory.selector',))
train_dataloader = dict(_delete_=True, **_base_.static_dataloader)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[60000, 75000], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=16)
