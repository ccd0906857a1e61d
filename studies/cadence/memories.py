# How often frames are to be offered: rules that keep four frames, offered every 1st to 20th. The learned one
# may skip.
rules = dict(
    fifo=dict(type='FIFOSelector'),
    most_similar=dict(type='MostSimilarSelector'),
    learned=dict(type='GumbelSelector'),
)
memories = {
    f'{rule}_every_{n}': dict(
        type='SlotMemory',
        num_slots=4,
        train_slots=4,
        selector=selector,
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=n)],
    )
    for rule, selector in rules.items()
    for n in (1, 5, 20)
}
