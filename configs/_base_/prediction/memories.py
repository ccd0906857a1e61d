# The memories of a predictor that tools/analysis_tools/compare_memories.py compares, in STReMN's encoder and
# decoder: name -> config that takes the place of model.memory. An entry without `type` changes the model
# elsewhere too.
gates = [dict(type='EmptyFirst')]
slots = dict(type='SlotMemory', num_slots=5, train_slots=5, gates=gates)
learned = dict(slots, selector=dict(type='GumbelSelector'))
memories = dict(
    gumbel=learned,
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    lifo=dict(slots, selector=dict(type='LIFOSelector')),
    random=dict(slots, selector=dict(type='RandomSelector')),
    lru=dict(slots, selector=dict(type='LRUSelector')),
    lfu=dict(slots, selector=dict(type='LFUSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    readmem=dict(slots, selector=dict(type='DiversitySelector')),
    rmem=dict(slots, selector=dict(type='UCBSelector')),
    # The ablation of the query's length.
    gumbel_query_1=dict(memory=learned, query_frames=1),
    gumbel_query_2=dict(memory=learned, query_frames=2),
    gumbel_query_3=dict(memory=learned, query_frames=3),
    gumbel_query_5=dict(memory=learned, query_frames=5),
    # In the sizes of their own configs of Moving Digits. They get the same keys and values as slots do.
    convlstm=dict(type='ConvLSTMMemory', hidden_channels=48, layers=2, kernel=5),
    predrnn=dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5),
    predrnn_v2=dict(type='STLSTMMemory', hidden_channels=48, layers=2, kernel=5, decoupling=0.1),
    e3d_lstm=dict(type='E3DLSTMMemory', hidden_channels=24, layers=2, kernel=5),
)
