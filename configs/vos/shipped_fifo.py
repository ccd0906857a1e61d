# The recipe of shipped_stremn.py with the hand-made rule "drop the oldest".
_base_ = './shipped_stremn.py'
model = dict(memory=dict(selector=dict(_delete_=True, type='FIFOSelector')))
