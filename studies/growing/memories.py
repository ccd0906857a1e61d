# From a memory that grows to fixed slots, one change at a time: what is read, how often a frame is stored,
# how many stay.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
top, every_5th = dict(reader=dict(type='TopKReader')), dict(gates=[*protect, dict(type='EveryN', n=5)])
growing, slots = (
    dict(type='GrowingMemory'),
    dict(type='SlotMemory', num_slots=5, train_slots=3, gates=protect),
)
learned, fifo = (
    dict(slots, selector=dict(type='GumbelSelector')),
    dict(slots, selector=dict(type='FIFOSelector')),
)
memories = dict(
    stcn=growing,
    stcn_dense=dict(growing, reader=dict(type='DenseReader')),
    stcn_last=dict(growing, keep_last=True),
    stcn_last_dense=dict(growing, keep_last=True, reader=dict(type='DenseReader')),
    stcn_every_frame=dict(growing, every=1),
    learned=learned,
    learned_top_k=dict(learned, **top),
    learned_every_5th=dict(learned, **every_5th),
    learned_every_5th_top_k=dict(learned, **every_5th, **top),
    learned_8_top_k=dict(learned, **top, num_slots=8),
    learned_16_top_k=dict(learned, **top, num_slots=16),
    learned_8_every_5th_top_k=dict(learned, **top, **every_5th, num_slots=8),
    fifo=fifo,
    fifo_every_5th_top_k=dict(fifo, **every_5th, **top),
)
