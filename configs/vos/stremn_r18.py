# The model of the shipped weights, for its use: it needs no file of a backbone, so it builds anywhere.
# The training is shipped_stremn.py.
_base_ = './shipped_stremn.py'
load_from = None
model = dict(backbone=dict(checkpoint=None), value_backbone=dict(checkpoint=None))
