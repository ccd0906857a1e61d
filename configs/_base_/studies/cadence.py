# How often frames are to be offered: rules that keep four frames, offered every 1st to 20th.
rules = dict(
    fifo=dict(type='FIFOSelector'),
    most_similar=dict(type='MostSimilarSelector'),
    learned=dict(type='GumbelSelector'),
)
memories = {
    f'{rule}_every_{n}': dict(
        type='SlotMemory',
        num_slots=4,
        train_slots=3,
        selector=selector,
        gates=[dict(type='EmptyFirst'), dict(type='KeepFirst'), dict(type='EveryN', n=n), dict(type='Skip', allowed=False)],
    )
    for rule, selector in rules.items()
    for n in (1, 5, 20)
}
