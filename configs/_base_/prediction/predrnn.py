# PredRNN (Wang et al., NeurIPS 2017) in OpenSTL's sizes: patches of 4 x 4, four layers of 128.
model = dict(
    type='VideoPredictor',
    backbone=dict(type='PatchBackbone', patch=4),
    memory=dict(type='STLSTMMemory', hidden_channels=128, layers=4, kernel=5),
    decoder=dict(type='PatchDecoder'),
    loss=dict(type='PredictionLoss', l2=1.0),
    sampling=dict(type='ScheduledSampling', end_iter=50000),
    key_channels=0,
    value_channels=16,
)
