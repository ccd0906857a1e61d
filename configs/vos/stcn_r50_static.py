# Stage 1 of STCN: data, loss and schedule of hkchengrex/STCN (util/hyper_para.py, model/losses.py) for our
# model. Add --amp for mixed precision, which STCN used.
_base_ = ['../stcn_davis.py', '../_base_/static_clips.py']
max_iters = 300000
model = dict(
    value_channels=512,
    loss=dict(
        type='BootstrappedCEDiceLoss', begin_iter=20000, end_iter=70000, top_share=0.15, dice_weight=0.0
    ),
)
train_dataloader = dict(_delete_=True, **_base_.static_dataloader)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-5, weight_decay=1e-7)
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[150000], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=16)
