# SimVP (Gao et al., CVPR 2022) with gSTA: no memory, about as many parameters as PredRNN here.
_base_ = ['../_base_/prediction/runtime.py', '../_base_/prediction/occluded_digits.py']
model = dict(type='SimVP', spatial_channels=16, translator_channels=128, translator_layers=4)
