_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/e3d_lstm.py',
    '../_base_/prediction/kth_40.py',
]
