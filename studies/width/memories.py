# How wide keys and values must be. The rows are trained from scratch: encoders and decoder change with the
# widths.
slots = dict(
    type='SlotMemory',
    num_slots=4,
    train_slots=4,
    selector=dict(type='FIFOSelector'),
    gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
)
memories = {
    f'keys_{keys}_values_{values}': dict(memory=slots, key_channels=keys, value_channels=values)
    for keys in (16, 32, 64)
    for values in (64, 128, 256)
}
