# What STReMN's memory is worth in prediction, each with L2 alone and scheduled sampling as the other models have them: how
# many frames ask, how many slots are kept and by which rule, residual prediction, and carried features.
sampling = dict(type='ScheduledSampling', end_iter=125)
base = dict(sampling=sampling, loss=dict(l1=0.0))
slots = dict(type='SlotMemory', gates=[dict(type='EmptyFirst')])


def _slots(number, selector='GumbelSelector'):
    return dict(slots, num_slots=number, train_slots=number, selector=dict(type=selector))


memories = dict(
    plain=dict(base, memory=_slots(5)),
    query_1=dict(base, memory=_slots(5), query_frames=1),
    query_2=dict(base, memory=_slots(5), query_frames=2),
    query_5=dict(base, memory=_slots(5), query_frames=5),
    residual=dict(base, memory=_slots(5), residual=True),
    carry=dict(base, memory=_slots(5), carry=True),
    slots_1=dict(base, memory=_slots(1)),
    slots_2=dict(base, memory=_slots(2)),
    slots_10=dict(base, memory=_slots(10)),
    fifo=dict(base, memory=_slots(5, 'FIFOSelector')),
    random=dict(base, memory=_slots(5, 'RandomSelector')),
    lifo=dict(base, memory=_slots(5, 'LIFOSelector')),
)
