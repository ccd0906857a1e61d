# As gumbel_actions.py, without a memory: the mean of all frames' tokens, which knows no order.
_base_ = './gumbel_actions.py'
model = dict(memory=None)
