# Several frames or their average: for videos with look-alikes, which an average of the looks of an object resembles.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
slots = dict(type='SlotMemory', num_slots=4, train_slots=4)
memories = dict(
    learned=dict(slots, selector=dict(type='GumbelSelector'), gates=protect),
    fifo=dict(slots, selector=dict(type='FIFOSelector'), gates=[*protect, dict(type='EveryN', n=5)]),
    blended=dict(type='BlendedMemory'),
    blended_recent=dict(type='BlendedMemory', momentum=0.1),
)
