# The memories of the long benchmark: four slots and one cadence for all rules, the first frame stays; the rest to compare.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
gates = [*protect, dict(type='EveryN', n=5)]
slots = dict(type='SlotMemory', num_slots=4, train_slots=4, gates=gates)
memories = dict(
    gumbel=dict(slots, selector=dict(type='GumbelSelector'), gates=[*gates, dict(type='Skip', allowed=False)]),
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    lifo=dict(slots, selector=dict(type='LIFOSelector')),
    random=dict(slots, selector=dict(type='RandomSelector')),
    lru=dict(slots, selector=dict(type='LRUSelector')),
    lfu=dict(slots, selector=dict(type='LFUSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    readmem=dict(slots, selector=dict(type='DiversitySelector')),
    rmem=dict(slots, selector=dict(type='UCBSelector')),
    fifo_every_frame=dict(slots, selector=dict(type='FIFOSelector'), gates=protect),
    stcn=dict(type='GrowingMemory'),
)
