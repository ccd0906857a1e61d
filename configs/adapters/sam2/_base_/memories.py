# Memories of trackers (docs/trackers.md) for tools/analysis_tools/compare_memories.py --memory-file.
memories = dict(
    sam2=dict(type='TrackerMemory'),
    logarithmic=dict(type='TrackerMemory', num_slots=8, selector=dict(type='LogarithmicSelector')),
    present=dict(type='TrackerMemory', gates=[dict(type='EmptyFirst'), dict(type='MinPresence')]),
    confident=dict(type='TrackerMemory', gates=[dict(type='EmptyFirst'), dict(type='MinConfidence')]),
    samurai=dict(type='SAMURAI'),
    samurai_frames=dict(
        type='TrackerMemory',
        num_slots=7,
        num_read=6,
        by_rank=True,
        gates=[],
        selector=dict(type='SAMURAISelector'),
    ),
    dam4sam=dict(type='DAM4SAM'),
    sam2long=dict(type='SAM2Long'),
    different=dict(type='TrackerMemory', selector=dict(type='MostSimilarSelector'), key='memory'),
)
