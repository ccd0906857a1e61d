_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/predrnn_v2.py',
    '../_base_/prediction/moving_mnist.py',
]
