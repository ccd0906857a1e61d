# Six memories that share the weights of one checkpoint (configs/vos/stremn_r18_selector.py); frames are
# offered every 5th, and there are five slots. STM's schedule (the previous frame always readable) has the
# shared key that the checkpoint knows.
gates = [
    dict(type='EmptyFirst'),
    dict(type='KeepFirst'),
    dict(type='EveryN', n=5),
    dict(type='Skip', allowed=False),
]
slots = dict(type='SlotMemory', num_slots=5, train_slots=3, gates=gates)
memories = dict(
    gumbel=dict(slots, selector=dict(type='GumbelSelector')),
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    lru=dict(slots, selector=dict(type='LRUSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    stm=dict(type='GrowingMemory', reader=dict(type='DenseReader'), keep_last=True),
    stcn=dict(type='GrowingMemory'),
)
