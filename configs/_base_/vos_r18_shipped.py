# The small variant with fewer channels: 8 M parameters, 16 MB in half precision (docs/model_card.md).
_base_ = './vos_r18_small.py'
model = dict(short_side=480, value_encoder=dict(hidden_channels=64), decoder=dict(channels=(128, 80, 64)))
