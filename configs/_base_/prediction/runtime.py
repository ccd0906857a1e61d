# What all predictors share: the schedule is the data's.
_base_ = '../default_runtime.py'
default_hooks = dict(checkpoint=dict(save_best='prediction/PSNR', rule='greater'))
custom_hooks = [
    dict(type='GumbelTemperatureHook', start=1.0, end=0.3),
    dict(type='SelectorStatisticsHook'),
    dict(type='FiniteLossHook'),
]
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
