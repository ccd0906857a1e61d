# What the options of slots are worth: alignment, fusion and other readers, under the oldest rule and a
# learned one.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
rules = dict(
    fifo=dict(selector=dict(type='FIFOSelector'), gates=protect),
    learned=dict(selector=dict(type='GumbelSelector'), gates=protect),
)
options = dict(
    plain=dict(),
    align=dict(align=dict(type='DeformableAlign')),
    fusion=dict(fusion=dict(type='SlotFusion', mode='average')),
    local=dict(reader=dict(type='LocalWindowReader', radius=2)),  # of 8 x 8 positions
    top_k=dict(reader=dict(type='TopKReader')),
)
memories = {
    f'{rule}_{name}': dict(type='SlotMemory', num_slots=4, train_slots=4, **selector, **option)
    for rule, selector in rules.items()
    for name, option in options.items()
}
