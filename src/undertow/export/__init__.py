"""Export: a trained network for programs that know nothing of Undertow."""

from undertow.export.besides import find_left_out
from undertow.export.formats import export
from undertow.export.onnx_model import export_onnx
from undertow.export.source import export_source

__all__ = ["export", "export_onnx", "export_source", "find_left_out"]
