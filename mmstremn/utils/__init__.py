from mmstremn.utils.palette import DAVIS_PALETTE, decode_palette_png, encode_palette_png

__all__ = ['DAVIS_PALETTE', 'decode_palette_png', 'encode_palette_png']
