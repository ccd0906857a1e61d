# How wide the values must be. These rows are trained: the value encoder and the decoder change with the width.
protect = [dict(type='EmptyFirst'), dict(type='KeepFirst')]
rules = dict(
    fifo=dict(selector=dict(type='FIFOSelector'), gates=protect),
    learned=dict(selector=dict(type='GumbelSelector'), gates=protect),
)
memories = {
    f'{rule}_{width}': dict(memory=dict(type='SlotMemory', num_slots=4, train_slots=4, **selector), value_channels=width)
    for rule, selector in rules.items()
    for width in (64, 128, 256)
}
