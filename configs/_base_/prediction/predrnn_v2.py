# PredRNN-V2 (Wang et al., TPAMI 2022) in OpenSTL's sizes, patches of 4 x 4 and four layers of 128: with the
# decoupling loss and reverse scheduled sampling.
model = dict(
    type='VideoPredictor',
    backbone=dict(type='PatchBackbone', patch=4),
    memory=dict(type='STLSTMMemory', hidden_channels=128, layers=4, kernel=5, decoupling=0.1),
    decoder=dict(type='PatchDecoder'),
    loss=dict(type='PredictionLoss', l2=1.0),
    sampling=dict(type='ReverseScheduledSampling', begin_iter=25000, end_iter=50000, rate=2500),
    key_channels=0,
    value_channels=16,
)
