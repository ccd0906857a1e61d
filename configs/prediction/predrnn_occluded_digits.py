_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/predrnn.py',
    '../_base_/prediction/occluded_digits.py',
]
model = dict(memory=dict(hidden_channels=48, layers=2), sampling=dict(end_iter=500))
# What was hidden and is back is what memory is for; the mean over all frames hardly shows it.
default_hooks = dict(checkpoint=dict(save_best='prediction/PSNR_returned'))
