"""What people read: the backward pass as NumPy source, and its derivation."""

from undertow.emit.derivation import derive
from undertow.emit.names import reader_name
from undertow.emit.source import find_lines, write_codes, write_source
from undertow.emit.text import Text

__all__ = ["Text", "derive", "find_lines", "reader_name", "write_codes", "write_source"]
