# The newest frames and the first: drop the oldest slot.
_base_ = './stremn_davis.py'
model = dict(memory=dict(selector=dict(_delete_=True, type='FIFOSelector')))
