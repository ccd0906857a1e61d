# How fine the memory's grid must be. The rows are trained from scratch: each has the backbone up to its
# stride and a decoder from there on. 16 slots at a stride hold as many bytes as 4 at half of it.
slots = dict(
    type='SlotMemory',
    train_slots=4,
    selector=dict(type='FIFOSelector'),
    gates=[dict(type='EmptyFirst'), dict(type='KeepFirst')],
)
fine, middle, coarse = ((8, 4), (16, 8, 4), (32, 16, 8, 4))
memories = {
    f'slots_{number}_stride_{strides[0]}': dict(
        memory=dict(slots, num_slots=number),
        backbone=dict(strides=strides),
        decoder=dict(channels=(64,) * (len(strides) - 1) + (32,)),
    )
    for number, strides in ((4, fine), (4, middle), (4, coarse), (16, middle), (16, coarse))
}
