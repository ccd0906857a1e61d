# Which of six actions does a clip show? Tokens in a memory of three slots, chosen by the learned selector.
# See docs/other_tasks.md.
_base_ = ['../_base_/default_runtime.py', '../_base_/synthetic_actions.py']
model = dict(
    memory=dict(
        type='SlotMemory', num_slots=3, selector=dict(type='GumbelSelector'), gates=[dict(type='EmptyFirst')]
    ),
)
custom_hooks = [
    dict(type='GumbelTemperatureHook', start=1.0, end=0.3),
    dict(type='SelectorStatisticsHook'),
    dict(type='FiniteLossHook'),
]
