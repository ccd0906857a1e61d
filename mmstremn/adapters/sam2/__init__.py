"""SAM 2 / 2.1, EdgeTAM and SAM 3's tracker, from Hugging Face transformers, with a memory of this library.

Nothing else of mmstremn imports this package, and it imports transformers only when a model is built. A
config names it before any of its types::

    custom_imports = dict(imports=['mmstremn.adapters.sam2'])
    model = dict(type='Sam2Segmentor', checkpoint='facebook/sam2.1-hiera-tiny')
"""

from mmstremn.adapters.sam2.segmentor import Sam2Segmentor
from mmstremn.adapters.sam2.stream import Sam2Stream
from mmstremn.memory.published.dam4sam import DAM4SAM
from mmstremn.memory.published.sam2long import SAM2Long
from mmstremn.memory.published.samurai import SAMURAI, SAMURAISelector
from mmstremn.memory.published.tracker import TrackerMemory
from mmstremn.registry import MODELS

for _part in (TrackerMemory, SAMURAI, SAMURAISelector, DAM4SAM, SAM2Long):
    MODELS.register_module(module=_part)

__all__ = [
    'DAM4SAM',
    'SAMURAI',
    'SAM2Long',
    'SAMURAISelector',
    'Sam2Segmentor',
    'Sam2Stream',
    'TrackerMemory',
]
