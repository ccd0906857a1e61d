"""Models for runtimes without torch: :func:`export` writes them, :class:`OnnxSegmentor` and
:class:`OpenVINOSegmentor` run them."""

from mmstremn.export.onnx_segmentor import OnnxSegmentor, OnnxStream, OpenVINOSegmentor
from mmstremn.export.to_onnx import export

__all__ = ['OnnxSegmentor', 'OnnxStream', 'OpenVINOSegmentor', 'export']
