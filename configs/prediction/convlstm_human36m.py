_base_ = [
    '../_base_/prediction/runtime.py',
    '../_base_/prediction/convlstm.py',
    '../_base_/prediction/human36m.py',
]
model = dict(frame_channels=3, value_channels=48)
