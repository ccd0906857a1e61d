_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/predrnn_v2.py',
    '../_base_/prediction/moving_digits.py',
]
model = dict(memory=dict(hidden_channels=48, layers=2), sampling=dict(begin_iter=250, end_iter=500, rate=50))
