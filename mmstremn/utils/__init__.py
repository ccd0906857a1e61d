from mmstremn.utils.palette import DAVIS_PALETTE, decode_palette_png, encode_palette_png
from mmstremn.utils.processor import has_bfloat16_units
from mmstremn.utils.register import register_all_modules
from mmstremn.utils.shipped_files import find_config, find_weights

__all__ = [
    'DAVIS_PALETTE',
    'decode_palette_png',
    'encode_palette_png',
    'find_config',
    'find_weights',
    'has_bfloat16_units',
    'register_all_modules',
]
