# Stage 2 of STReMN at full size: DAVIS and YouTube-VOS, eight-frame clips in which the selector must choose
# at least four times. Starts from stage 1 (load_from).
_base_ = ['../stremn_davis.py', '../_base_/davis_youtube_vos.py']
max_iters = 125000
load_from = 'work_dirs/stremn_r50_static/iter_80000.pth'
train_dataloader = dict(_delete_=True, **_base_.davis_youtube_vos_dataloader)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[100000, 115000], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=8)
