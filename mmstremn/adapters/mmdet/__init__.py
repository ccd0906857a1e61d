"""Memory inside MMDetection's trackers (MMTracking's successor): MaskTrack R-CNN, QDTrack, and masks that are
propagated.

This package needs mmdet; nothing else of mmstremn imports it. A config names it before any of its types::

    custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub', 'mmstremn.adapters.mmdet'])
    model = dict(
        track_head=dict(type='mmstremn.MemoryTrackHead', head=<the model's own track head>),
        tracker=dict(_delete_=True, type='mmstremn.MemoryTracker'),
    )

(The first import is for mmcv without compiled ops; it does nothing where they exist.)
"""

try:
    from mmstremn.adapters.mmdet.appearance import AppearanceMemory
    from mmstremn.adapters.mmdet.mask_propagation import MemoryMaskPropagation
    from mmstremn.adapters.mmdet.matchers import BiSoftmaxMatcher, SoftmaxMatcher
    from mmstremn.adapters.mmdet.track_head import MemoryTrackHead
    from mmstremn.adapters.mmdet.tracker import MemoryTracker
except ModuleNotFoundError as error:
    FIXES = {
        'mmdet': "pip install 'mmstremn[tracking]'",
        'mmcv._ext': "mmcv has no compiled ops: import 'mmstremn.adapters.install_ops_stub' first, or "
        'build them',
    }
    if error.name not in FIXES:
        raise
    message = f'mmstremn.adapters.mmdet needs {error.name}. Fix: {FIXES[error.name]}'
    raise ModuleNotFoundError(message, name=error.name) from error

__all__ = [
    'AppearanceMemory',
    'BiSoftmaxMatcher',
    'MemoryMaskPropagation',
    'MemoryTrackHead',
    'MemoryTracker',
    'SoftmaxMatcher',
]
