# Occluded Digits, 10 -> 10 at 32 px: handwritten digits that pass behind an occluder, leave the frame and
# come back, embedded. What was hidden at the cut can only be drawn from memory. Minutes on a CPU.
_base_ = './moving_digits.py'
train_dataloader = dict(dataset=dict(type='OccludedDigitsDataset'))
val_dataloader = dict(dataset=dict(type='OccludedDigitsDataset'))
test_dataloader = dict(dataset=dict(type='OccludedDigitsDataset'))
