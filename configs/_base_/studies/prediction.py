# What STReMN's memory is worth in prediction, each with L2 alone and scheduled sampling as the other models have them: how
# many frames ask, what slots hold, how many there are and which rule fills them, residual prediction, carried features,
# readers that look near by, and (in the test alone) slots that predicted frames never overwrite.
sampling = dict(type='ScheduledSampling', end_iter=125)
base = dict(sampling=sampling, loss=dict(l1=0.0))
slots = dict(type='SlotMemory', gates=[dict(type='EmptyFirst')])


def _slots(selector='GumbelSelector', number=5, **options):
    return dict(slots, num_slots=number, train_slots=number, selector=dict(type=selector), **options)


local = dict(type='LocalWindowReader', radius=2)  # of 8 x 8 positions
memories = dict(
    plain=dict(base, memory=_slots()),
    fifo=dict(base, memory=_slots('FIFOSelector')),
    carry_local=dict(base, memory=_slots(reader=local), carry=True),
    query_1=dict(base, memory=_slots(), query_frames=1),
    query_2=dict(base, memory=_slots(), query_frames=2),
    query_5=dict(base, memory=_slots(), query_frames=5),
    value_last=dict(base, memory=_slots(), value_frame='last'),
    residual=dict(base, memory=_slots(), residual=True),
    residual_carry_local=dict(base, memory=_slots(reader=local), residual=True, carry=True),
    residual_carry=dict(base, memory=_slots(), residual=True, carry=True),
    slots_1=dict(base, memory=_slots(number=1)),
    slots_10=dict(base, memory=_slots(number=10)),
    random=dict(base, memory=_slots('RandomSelector')),
    carry=dict(base, memory=_slots(), carry=True),
    local=dict(base, memory=_slots(reader=local)),
    given_only=dict(base, memory=_slots(gates=slots['gates'] + [dict(type='EveryN', n=1000)])),
)
