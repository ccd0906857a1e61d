"""Every rule, with each way to protect prompts and to leave frames out, for any number of slots."""

RULES = dict(
    fifo='FIFOSelector',
    lifo='LIFOSelector',
    random='RandomSelector',
    lru='LRUSelector',
    lfu='LFUSelector',
    most_similar='MostSimilarSelector',
    readmem='DiversitySelector',
    ucb='UCBSelector',
    reservoir='ReservoirSelector',
    logarithmic='LogarithmicSelector',
)
PROTECT = dict(first='KeepFirst', prompted='KeepPrompted')
FILTERS: dict[str, list[dict]] = dict(
    all=[],
    present=[dict(type='MinPresence', probability=0.25)],
    sure=[dict(type='MinConfidence', probability=0.8)],
)
memories = {
    f'{rule}_{protect}_{name}': dict(
        type='SlotMemory',
        selector=dict(type=selector),
        gates=[dict(type='EmptyFirst'), dict(type=gate), *filters],
    )
    for rule, selector in RULES.items()
    for protect, gate in PROTECT.items()
    for name, filters in FILTERS.items()
}
