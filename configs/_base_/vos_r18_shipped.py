# The small variant with fewer channels: 8 M parameters, 16 MB in half precision (docs/model_card.md). At test
# the 20 most similar positions are read and every 5th frame is offered, as in STCN; in training all are
# (studies/growing/README.md).
_base_ = './vos_r18_small.py'
model = dict(
    short_side=480,
    memory=dict(
        reader=dict(type='TopKReader', k=20),
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=5)],
    ),
    value_encoder=dict(hidden_channels=64),
    decoder=dict(channels=(128, 80, 64)),
)
