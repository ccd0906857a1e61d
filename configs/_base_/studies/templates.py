# Several frames or their average: for videos with look-alikes, which an average of the looks of an object resembles.
gates = [dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=5), dict(type='Skip', allowed=False)]
slots = dict(type='SlotMemory', num_slots=4, train_slots=3, gates=gates)
memories = dict(
    learned=dict(slots, selector=dict(type='GumbelSelector')),
    most_similar=dict(slots, selector=dict(type='MostSimilarSelector')),
    blended=dict(type='BlendedMemory'),
    blended_recent=dict(type='BlendedMemory', momentum=0.1),
)
