"""Models for runtimes without torch: :func:`export` writes them, :class:`OnnxSegmentor` runs them."""

from mmstremn.export.onnx_segmentor import OnnxSegmentor, OnnxStream
from mmstremn.export.to_onnx import export

__all__ = ['OnnxSegmentor', 'OnnxStream', 'export']
