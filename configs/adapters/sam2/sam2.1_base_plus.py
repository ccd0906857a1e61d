# facebook/sam2.1-hiera-base-plus with SAM 2's own rule of memory, bounded: docs/trackers.md.
# Weights in a local folder: --cfg-options model.checkpoint=/path/to/folder
_base_ = './_base_/davis_test.py'
model = dict(
    type='Sam2Segmentor', checkpoint='facebook/sam2.1-hiera-base-plus', memory=dict(type='TrackerMemory')
)
