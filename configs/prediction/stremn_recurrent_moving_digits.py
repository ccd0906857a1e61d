# The best predictor that was measured (studies/prediction, row `beside`): STReMN's slots and the state of
# PredRNN beside them; without slots (row `cells`) it is as good. Two hours on a shared core with units for
# bfloat16 (mean of three trainings), with --cfg-options optim_wrapper.type=BFloat16OptimWrapper as figures
# were made.
_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/stremn.py',
    '../_base_/prediction/moving_digits.py',
]
max_iters = 5000
model = dict(
    residual=True,
    backbone=dict(widths=(64,), patch=4),
    value_backbone=dict(type='PatchBackbone', patch=4),
    memory=dict(
        _delete_=True,
        type='RecurrentSlotMemory',
        slots=_base_.model.memory,
        recurrent=dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5),
    ),
    loss=dict(l1=0.0),
    key_channels=16,
    value_channels=16,
    sampling=dict(type='ScheduledSampling', end_iter=2500),
)
train_cfg = dict(max_iters=max_iters, val_interval=500)
param_scheduler = [dict(type='OneCycleLR', eta_max=0.001, total_steps=max_iters, by_epoch=False)]
