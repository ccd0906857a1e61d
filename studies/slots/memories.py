# How many slots are needed: 1 to 16, offered every frame. A slot alone cannot keep the first frame.
rules = dict(
    fifo=dict(type='FIFOSelector'),
    most_similar=dict(type='MostSimilarSelector'),
    learned=dict(type='GumbelSelector'),
)
memories = {
    f'{rule}_{number}': dict(
        type='SlotMemory',
        num_slots=number,
        train_slots=min(number, 4),
        selector=selector,
        gates=[dict(type='EmptyFirst'), *[dict(type='KeepFirst')] * (number > 1)],
    )
    for rule, selector in rules.items()
    for number in (1, 2, 4, 8, 16)
}
