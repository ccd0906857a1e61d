# The shipped model trained on, for its use: the weights of shipped_short.py and a presence head that
# `tools/fit_presence.py configs/vos/absence_head.py` fitted to them. It needs no file of a backbone.
_base_ = './absence_head.py'
load_from = None
model = dict(backbone=dict(checkpoint=None), value_backbone=dict(checkpoint=None))
