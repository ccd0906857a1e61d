_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/stremn.py',
    '../_base_/prediction/kth_40.py',
]
