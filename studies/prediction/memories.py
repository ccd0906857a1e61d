# What STReMN's memory is worth in prediction, each with L2 alone and scheduled sampling as the other models
# have them: how many frames ask, what slots hold, which rule fills them, residual prediction, carried
# features, readers that look near by.
sampling = dict(type='ScheduledSampling', end_iter=125)
base = dict(sampling=sampling, loss=dict(l1=0.0))
slots = dict(type='SlotMemory', num_slots=5, train_slots=5, gates=[dict(type='EmptyFirst')])
learned = dict(slots, selector=dict(type='GumbelSelector'))
local = dict(learned, reader=dict(type='LocalWindowReader', radius=2))  # of 8 x 8 positions
memories = dict(
    plain=dict(base, memory=learned),
    fifo=dict(base, memory=dict(slots, selector=dict(type='FIFOSelector'))),
    query_1=dict(base, memory=learned, query_frames=1),
    query_2=dict(base, memory=learned, query_frames=2),
    query_5=dict(base, memory=learned, query_frames=5),
    value_last=dict(base, memory=learned, value_frame='last'),
    carry_local=dict(base, memory=local, carry=True),
    residual=dict(base, memory=learned, residual=True),
    residual_carry=dict(base, memory=learned, residual=True, carry=True),
    residual_carry_local=dict(base, memory=local, residual=True, carry=True),
)
