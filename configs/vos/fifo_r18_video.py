# The small variant with the hand-made rule "drop the oldest".
_base_ = './stremn_r18_video.py'
model = dict(memory=dict(selector=dict(_delete_=True, type='FIFOSelector')))
