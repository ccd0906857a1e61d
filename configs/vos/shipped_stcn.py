# The recipe of shipped_stremn.py with a memory that grows as STCN's does: shared keys, L2, top 20, every 5th
# frame.
_base_ = './shipped_stremn.py'
model = dict(memory=dict(_delete_=True, type='GrowingMemory'))
