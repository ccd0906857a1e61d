# STM (Oh et al., ICCV 2019): a memory that grows, a key per object, dot product, every 5th frame and the
# previous one.
_base_ = './stremn_davis.py'
model = dict(
    memory=dict(
        _delete_=True,
        type='GrowingMemory',
        reader=dict(type='DenseReader', affinity=dict(type='DotAffinity')),
        keep_last=True,
        per_object_key=True,
    )
)
