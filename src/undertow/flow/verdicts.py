"""Whether a gradient reaches the first layers: judged by how it changes over the whole depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from undertow.flow.expected import LayerForecast

VANISHES: Final = 1e-3
EXPLODES: Final = 1e3

@dataclass(frozen=True)
class Verdict:
    kind: str
    factor: float
    sentence: str

def compared(rows):
    main = [row for row in rows if row.layer.within is None]
    found = []
    for i, row in enumerate(main):
        after = main[i + 1].layer.kind if i + 1 < len(main) else ""
        norm = row.layer.kind in NORMS
        if norm and i and main[i-1].layer.kind == "Dense" and main[i-1].layer.activation is None:
            found.append(row)
        elif not norm and not (row.layer.kind == "Dense" and row.layer.activation is None and after in NORMS):
            found.append(row)
    return found

NORMS = ("BatchNorm", "LayerNorm", "RMSNorm")
def judge(rows):
    path = compared(rows)
    if len(path) < 2: return [Verdict("fine", 1.0, "")]
    f = path[0].length.best
    return [Verdict("vanishes" if f < VANISHES else "explodes" if f > EXPLODES else "fine", f, "")]
