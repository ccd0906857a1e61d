# STReMN: slots, and a query of the last three frames. Maps at strides 1, 2 and 4.
model = dict(
    type='VideoPredictor',
    backbone=dict(type='ConvBackbone', widths=(32, 64, 128)),
    memory=dict(
        type='SlotMemory',
        num_slots=5,
        train_slots=5,
        selector=dict(type='GumbelSelector'),
        gates=[dict(type='EmptyFirst')],
    ),
    decoder=dict(type='FrameDecoder'),
    loss=dict(type='PredictionLoss', l1=1.0, l2=1.0),
    key_channels=64,
    value_channels=128,
    query_frames=3,
)
