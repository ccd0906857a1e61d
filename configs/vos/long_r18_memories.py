# What tools/analysis_tools/compare_memories.py trains with every memory in turn: a few clips more, from one
# start, then six videos of 150 frames.
_base_ = './long_r18.py'
max_iters = 40
load_from = None
model = dict(frozen=(), memory=dict(train_slots=2))
train_dataloader = dict(dataset=dict(clip_length=6))
test_dataloader = dict(dataset=dict(lengths=(150,) * 6))
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=5),
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=5,
        end=max_iters,
        T_max=max_iters - 5,
        eta_min_ratio=0.05,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(custom_keys=dict(memory=dict(lr_mult=10))))
default_hooks = dict(checkpoint=dict(interval=20, max_keep_ckpts=1))
