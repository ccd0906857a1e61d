# Several frames or their average: for videos with look-alikes, which an average of the looks of an object
# resembles.
slots = dict(
    type='SlotMemory', num_slots=4, train_slots=4, gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')]
)
memories = dict(
    learned=dict(slots, selector=dict(type='GumbelSelector')),
    fifo=dict(slots, selector=dict(type='FIFOSelector')),
    blended=dict(type='BlendedMemory'),
    blended_recent=dict(type='BlendedMemory', momentum=0.1),
)
