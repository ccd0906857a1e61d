_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/predrnn_v2.py',
    '../_base_/prediction/kth_20.py',
]
model = dict(memory=dict(decoupling=0.01), sampling=dict(begin_iter=5000, end_iter=50000, rate=2000))
