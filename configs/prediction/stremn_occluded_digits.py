_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/stremn.py',
    '../_base_/prediction/occluded_digits.py',
]
model = dict(
    backbone=dict(widths=(16, 32, 64)),
    memory=dict(num_slots=5, train_slots=5),
    key_channels=32,
    value_channels=64,
)
# What was hidden and is back is what memory is for; the mean over all frames hardly shows it.
default_hooks = dict(checkpoint=dict(save_best='prediction/PSNR_returned'))
