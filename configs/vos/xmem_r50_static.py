# Stage 1 of XMem: data, loss and schedule of hkchengrex/XMem (util/configuration.py, model/losses.py) for our
# model. Add
# --amp for mixed precision, which XMem used.
_base_ = ['../stcn_davis.py', '../_base_/static_clips.py']
max_iters = 150000
model = dict(
    memory=dict(_delete_=True, type='TwoLevelMemory'),
    value_channels=512,
    loss=dict(
        type='BootstrappedCEDiceLoss', begin_iter=20000, end_iter=70000, top_share=0.15, dice_weight=1.0
    ),
)
train_dataloader = dict(_delete_=True, **_base_.static_dataloader)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-5, weight_decay=0.05)
)
param_scheduler = None
auto_scale_lr = dict(base_batch_size=16)
