# facebook/sam3 with SAM 2's own rule of memory, bounded: docs/trackers.md.
# Weights in a local folder: --cfg-options model.checkpoint=/path/to/folder
_base_ = './_base_/davis_test.py'
model = dict(type='Sam2Segmentor', checkpoint='facebook/sam3', memory=dict(type='TrackerMemory'))
