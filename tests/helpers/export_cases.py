"""Segmentors that are exported, as changes of ``tiny_config``."""

GATES = [dict(type=name) for name in ('EmptyFirst', 'KeepPrompted', 'MinPresence')] + [
    dict(type='EveryN', n=2)
]
TOP = dict(type='TopKReader', k=9)
CASES = dict(
    shipped=dict(
        memory=dict(type='SlotMemory', num_slots=3, reader=TOP, gates=GATES),
        presence=dict(type='PresenceHead', threshold=0.0),
        short_side=40,
    ),
    own_keys=dict(
        memory=dict(type='SlotMemory', num_slots=2, per_object_key=True, selector=dict(type='FIFOSelector')),
        data_preprocessor=dict(type='VOSDataPreprocessor', padding='black'),
    ),
    stcn=dict(memory=dict(type='GrowingMemory', reader=TOP, every=2, keep_last=True)),
    xmem_affinity=dict(
        memory=dict(
            type='GrowingMemory',
            every=3,
            reader=dict(type='DenseReader', affinity=dict(type='AnisotropicL2Affinity')),
        ),
        presence=dict(type='PresenceHead', threshold=0.0),
    ),
)
