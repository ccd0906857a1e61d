# The memories that tools/analysis_tools/compare_memories.py compares: name -> config that takes the place of
# model.memory. An entry without `type` changes the model elsewhere too: dict(memory=dict(type=...),
# decoder=dict(...)). Fixed memories hold four frames' worth of features at most, where their size is free;
# the first frame stays. The learned selector must choose three times in a clip of six frames: it trains with
# two slots.
gates = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
slots = dict(type='SlotMemory', num_slots=4, train_slots=3, gates=gates)
learned = dict(slots, train_slots=2, selector=dict(type='GumbelSelector'))
dot = dict(type='DenseReader', affinity=dict(type='DotAffinity'))
memories = dict(
    gumbel=learned,
    gumbel_align=dict(learned, align=dict(type='DeformableAlign')),
    gumbel_fusion=dict(learned, fusion=dict(type='SlotFusion')),
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    fifo_every_5th=dict(slots, selector=dict(type='FIFOSelector'), gates=[*gates, dict(type='EveryN', n=5)]),
    lifo=dict(slots, selector=dict(type='LIFOSelector')),
    random=dict(slots, selector=dict(type='RandomSelector')),
    lru=dict(slots, selector=dict(type='LRUSelector')),
    lfu=dict(slots, selector=dict(type='LFUSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    readmem=dict(slots, selector=dict(type='DiversitySelector')),
    rmem=dict(slots, selector=dict(type='UCBSelector')),
    aot=dict(slots, num_slots=2, train_slots=2, selector=dict(type='FIFOSelector')),
    stm=dict(type='GrowingMemory', reader=dot, keep_last=True, per_object_key=True),
    stcn=dict(type='GrowingMemory'),
    xmem=dict(type='TwoLevelMemory', capacity=2048),
    sam2=dict(type='RecentPromptedMemory'),
    gc=dict(type='GlobalContextMemory'),
    livos=dict(type='GatedLinearMemory'),
    egm=dict(type='GraphMemory'),
    afb_urr=dict(type='MergingMemory', capacity=4),
    swiftnet=dict(type='MergingMemory', capacity=4, novel_share=0.1),
    compressive=dict(type='CompressiveMemory'),
    mart=dict(type='GatedSlotMemory', num_slots=4),
    ntm=dict(type='NTMMemory', num_slots=4),
    blended=dict(type='BlendedMemory'),
    rde=dict(type='RecurrentEmbeddingMemory'),
    convlstm=dict(type='ConvLSTMMemory', hidden_channels=64),
    predrnn=dict(type='STLSTMMemory', hidden_channels=64),
    e3d_lstm=dict(type='E3DLSTMMemory', hidden_channels=64, kernel=3),
)
