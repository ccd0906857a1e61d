# KTH, 10 -> 40 at 128 px, trained on 10 -> 10 as for 10 -> 20.
_base_ = './kth_20.py'
val_dataloader = dict(dataset=dict(output_frames=40))
test_dataloader = dict(dataset=dict(output_frames=40))
