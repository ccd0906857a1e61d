# The recipe of shipped_stremn.py with a memory that grows on STM's schedule: every 5th frame and the previous
# one, all of them read densely. Keys are shared and compared by L2, since stage 1 learned those.
# Training gives the weights of shipped_stcn.py to the bit: within a clip both keep every frame and read all
# of it.
_base_ = './shipped_stremn.py'
model = dict(
    memory=dict(_delete_=True, type='GrowingMemory', reader=dict(type='DenseReader'), keep_last=True)
)
