_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/e3d_lstm.py',
    '../_base_/prediction/moving_digits.py',
]
model = dict(memory=dict(hidden_channels=24, layers=2), sampling=dict(end_iter=500))
