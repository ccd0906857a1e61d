# Stage 2 of XMem (its stage 3): DAVIS and YouTube-VOS, eight-frame clips of at most three objects. Starts
# from stage 1 (load_from). Unlike XMem, a frame reads all earlier ones of its clip (XMem draws three of
# them), and the last 10,000 iterations are as the others (XMem's are without the movement of single frames).
_base_ = ['./xmem_r50_static.py', '../_base_/davis_youtube_vos.py']
max_iters = 110000
load_from = 'work_dirs/xmem_r50_static/iter_150000.pth'
train_dataloader = dict(_delete_=True, **_base_.davis_youtube_vos_dataloader)
train_cfg = dict(max_iters=max_iters, val_begin=max_iters, val_interval=max_iters)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[80000], gamma=0.1)]
custom_hooks = [
    dict(type='ClipSkipHook', schedule=[(0.0, 5), (0.1, 10), (0.3, 15), (0.9, 5)]),
    dict(type='FiniteLossHook'),
]
auto_scale_lr = dict(base_batch_size=8)
