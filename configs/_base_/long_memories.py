# The memories of the long benchmark: four slots, the first frame stays. Rules are offered every 5th frame, which serves them
# best (docs/studies); the learned selector every frame, and it may skip. The rest to compare.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
every_5th = [*protect, dict(type='EveryN', n=5)]
slots = dict(type='SlotMemory', num_slots=4, train_slots=4, gates=every_5th)
memories = dict(
    gumbel=dict(slots, selector=dict(type='GumbelSelector'), gates=protect),
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    lifo=dict(slots, selector=dict(type='LIFOSelector')),
    random=dict(slots, selector=dict(type='RandomSelector')),
    lru=dict(slots, selector=dict(type='LRUSelector')),
    lfu=dict(slots, selector=dict(type='LFUSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    readmem=dict(slots, selector=dict(type='DiversitySelector')),
    rmem=dict(slots, selector=dict(type='UCBSelector')),
    fifo_every_frame=dict(slots, selector=dict(type='FIFOSelector'), gates=protect),
    most_similar_every_frame=dict(slots, selector=dict(type='MostSimilarSelector'), gates=protect),
    gumbel_every_5th=dict(slots, selector=dict(type='GumbelSelector')),
    stcn=dict(type='GrowingMemory'),
)
