# How many slots are needed: rules that keep 1 to 16 frames, offered every 5th, and a learned one, offered every frame. A
# slot alone cannot keep the first frame.
every_5th = [dict(type='EveryN', n=5)]
rules = dict(
    fifo=(dict(type='FIFOSelector'), every_5th),
    most_similar=(dict(type='MostSimilarSelector'), every_5th),
    learned=(dict(type='GumbelSelector'), []),
)
memories = {
    f'{rule}_{number}': dict(
        type='SlotMemory',
        num_slots=number,
        train_slots=min(number, 4),
        selector=selector,
        gates=[dict(type='EmptyFirst'), *[dict(type='KeepFirst')] * (number > 1), *cadence],
    )
    for rule, (selector, cadence) in rules.items()
    for number in (1, 2, 4, 8, 16)
}
