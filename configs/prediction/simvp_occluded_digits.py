# SimVP (Gao et al., CVPR 2022) with gSTA: no memory, about as many parameters as PredRNN here.
_base_ = ['../_base_/prediction/runtime.py', '../_base_/prediction/occluded_digits.py']
model = dict(type='SimVP', spatial_channels=16, translator_channels=128, translator_layers=4)
# What was hidden and is back is what memory is for; the mean over all frames hardly shows it.
default_hooks = dict(checkpoint=dict(save_best='prediction/PSNR_returned'))
