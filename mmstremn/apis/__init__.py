"""Models ready for use in a few lines."""

from mmstremn.apis.inference import init_predictor, init_segmentor

__all__ = ['init_predictor', 'init_segmentor']
