# Whole predictors that tools/analysis_tools/compare_memories.py compares on Moving Digits at equal budget
# (--iters 250): STReMN with the learned selector and with rules, and each recurrent model as its own config
# has it. All see their own predictions more and more often during the first half of the training. SimVP has
# no memory and predicts all frames at once.
sampling = dict(type='ScheduledSampling', end_iter=125)
slots = dict(type='SlotMemory', num_slots=5, train_slots=5, gates=[dict(type='EmptyFirst')])
learned = dict(slots, selector=dict(type='GumbelSelector'))
fifo = dict(slots, selector=dict(type='FIFOSelector'))
patches = dict(
    backbone=dict(_delete_=True, type='PatchBackbone', patch=4),
    decoder=dict(_delete_=True, type='PatchDecoder'),
    loss=dict(l1=0.0, l2=1.0),
    key_channels=0,
    value_channels=16,
    sampling=sampling,
)
convlstm = dict(memory=dict(type='ConvLSTMMemory', hidden_channels=48, layers=2, kernel=5), **patches)
memories = dict(
    stremn=dict(memory=learned, sampling=sampling),
    stremn_fifo=dict(memory=fifo, sampling=sampling),
    stremn_true_frames=dict(memory=learned),
    stremn_l2=dict(memory=learned, sampling=sampling, loss=dict(l1=0.0)),
    stremn_residual=dict(memory=learned, sampling=sampling, loss=dict(l1=0.0), residual=True),
    stremn_carry=dict(memory=learned, sampling=sampling, loss=dict(l1=0.0), carry=True),
    convlstm=convlstm,
    convlstm_residual=dict(convlstm, residual=True),
    predrnn=dict(memory=dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5), **patches),
    predrnn_v2=dict(
        memory=dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5, decoupling=0.1), **patches
    )
    | dict(sampling=dict(type='ReverseScheduledSampling', begin_iter=60, end_iter=125, rate=12)),
    e3d_lstm=dict(memory=dict(type='E3DLSTMMemory', hidden_channels=24, layers=2, kernel=5), **patches),
    simvp=dict(
        model=dict(type='SimVP', spatial_channels=16, translator_channels=128, translator_layers=4),
    ),
)
