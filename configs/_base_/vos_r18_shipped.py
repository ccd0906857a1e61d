# The small variant with fewer channels: 8 M parameters, so that its weights are 16 MB in half precision (weights/README.md).
_base_ = './vos_r18_small.py'
model = dict(value_encoder=dict(hidden_channels=64), decoder=dict(channels=(128, 80, 64)))
