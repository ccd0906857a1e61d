# What the options of slots are worth: alignment, fusion and other readers, under the oldest rule and a learned one.
gates = [dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=5), dict(type='Skip', allowed=False)]
rules = dict(fifo=dict(type='FIFOSelector'), learned=dict(type='GumbelSelector'))
options = dict(
    plain=dict(),
    align=dict(align=dict(type='DeformableAlign')),
    fusion=dict(fusion=dict(type='SlotFusion', mode='average')),
    local=dict(reader=dict(type='LocalWindowReader')),
    top_k=dict(reader=dict(type='TopKReader')),
)
memories = {
    f'{rule}_{name}': dict(type='SlotMemory', num_slots=4, train_slots=3, selector=selector, gates=gates, **option)
    for rule, selector in rules.items()
    for name, option in options.items()
}
