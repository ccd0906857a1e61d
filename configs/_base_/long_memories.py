# The memories of the long benchmark: four slots, of which the first keeps the first frame. They are offered
# every frame, which serves rules best too on the development videos; with `_every_5th` every fifth. The
# learned selector may skip.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
selectors = dict(
    gumbel='GumbelSelector',
    fifo='FIFOSelector',
    lifo='LIFOSelector',
    random='RandomSelector',
    lru='LRUSelector',
    lfu='LFUSelector',
    most_similar='MostSimilarSelector',
    readmem='DiversitySelector',
    rmem='UCBSelector',
)
memories = {
    name + suffix: dict(
        type='SlotMemory',
        num_slots=4,
        train_slots=4,
        selector=dict(type=selector),
        gates=[*protect, *cadence],
    )
    for suffix, cadence in (('', []), ('_every_5th', [dict(type='EveryN', n=5)]))
    for name, selector in selectors.items()
}
memories.update(stcn=dict(type='GrowingMemory'))
