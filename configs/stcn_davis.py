# STCN (Cheng et al., NeurIPS 2021): a memory that grows, one key shared by all objects, L2, top 20, every 5th
# frame.
_base_ = './stremn_davis.py'
model = dict(memory=dict(_delete_=True, type='GrowingMemory'))
