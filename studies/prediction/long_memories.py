# Trained to convergence: 5,000 iterations, L2 alone, scheduled sampling that ends in the middle, patches of
# 4 x 4 pixels. The recurrent models are those of configs/prediction/{convlstm,predrnn}_moving_digits.py.
# `beside` is STReMN with the state of that PredRNN beside its five slots, `beside_convlstm` with that of
# ConvLSTM; `cells` is `beside` without the slots.
sampling = dict(type='ScheduledSampling', end_iter=2500)
slots = dict(
    type='SlotMemory',
    num_slots=5,
    train_slots=5,
    selector=dict(type='GumbelSelector'),
    gates=[dict(type='EmptyFirst')],
)
convlstm = dict(type='ConvLSTMMemory', hidden_channels=48, layers=2, kernel=5)
predrnn = dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5)
patches = dict(type='PatchBackbone', patch=4)
plain = dict(
    backbone=dict(patches, _delete_=True),
    decoder=dict(_delete_=True, type='PatchDecoder'),
    loss=dict(l1=0.0),
    key_channels=0,
    value_channels=16,
    sampling=sampling,
)
asking = dict(
    residual=True,
    backbone=dict(widths=(64,), patch=4),
    value_backbone=patches,
    loss=dict(l1=0.0),
    key_channels=16,
    value_channels=16,
    sampling=sampling,
)
memories = dict(
    convlstm=dict(plain, memory=convlstm),
    predrnn=dict(plain, memory=predrnn),
    beside=dict(asking, memory=dict(type='RecurrentSlotMemory', slots=slots, recurrent=predrnn)),
    beside_convlstm=dict(asking, memory=dict(type='RecurrentSlotMemory', slots=slots, recurrent=convlstm)),
    cells=dict(asking, memory=predrnn),
)
