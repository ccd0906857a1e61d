_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/convlstm.py',
    '../_base_/prediction/occluded_digits.py',
]
model = dict(memory=dict(hidden_channels=48, layers=2), sampling=dict(end_iter=500))
