# As gumbel_actions.py, with the last three frames in the memory.
_base_ = './gumbel_actions.py'
model = dict(memory=dict(selector=dict(_delete_=True, type='FIFOSelector')))
