"""What people read: the backward pass as NumPy source, and its derivation."""

from undertow.emit.names import reader_name
from undertow.emit.source import write_source

__all__ = ["reader_name", "write_source"]
