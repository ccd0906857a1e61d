# How wide the values must be. These rows are trained: the value encoder and the decoder change with the width.
gates = [dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=5), dict(type='Skip', allowed=False)]
rules = dict(fifo=dict(type='FIFOSelector'), learned=dict(type='GumbelSelector'))
memories = {
    f'{rule}_{width}': dict(
        memory=dict(type='SlotMemory', num_slots=4, train_slots=3, selector=selector, gates=gates), value_channels=width
    )
    for rule, selector in rules.items()
    for width in (64, 128, 256)
}
