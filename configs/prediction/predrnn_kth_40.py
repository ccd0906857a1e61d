_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/predrnn.py',
    '../_base_/prediction/kth_40.py',
]
