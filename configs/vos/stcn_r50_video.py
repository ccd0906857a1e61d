# Stage 2 of STCN: DAVIS and YouTube-VOS, three-frame clips of at most two objects. Starts from stage 1
# (load_from).
_base_ = ['./stcn_r50_static.py', '../_base_/davis_youtube_vos.py']
max_iters = 150000
load_from = 'work_dirs/stcn_r50_static/iter_300000.pth'
train_dataloader = dict(_delete_=True, **_base_.davis_youtube_vos_dataloader)
train_dataloader['dataset'].update(clip_length=3, max_objects=2)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[125000], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=8)
