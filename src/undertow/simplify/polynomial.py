"""The algebra of the backward pass: expand products of sums, cancel, and factor what is left.

A value made by + − × ÷ is written as a polynomial in its atoms (the values not made that way), for
example ``−(y/m)(1 − p) + (1 − y)/m · p``. Expanded, the terms with y p cancel; what is left is factored
to ``(p − y) / m``. It replaces the original only where it takes fewer operations on whole arrays.
Factors cancel against their reciprocals only where they are known to be nonzero.
"""

from __future__ import annotations

from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from undertow import primitives as P
from undertow.graph import Node
from undertow.simplify.engine import Simplifier, number, rule
from undertow.trace import Tracer

if TYPE_CHECKING:
    from fractions import Fraction

Monomial = tuple[tuple[Node, int], ...]  # atoms with their exponents, ordered by the atoms' age
Exact: TypeAlias = "int | Fraction"  # whole numbers, as nearly all are, compute ten times as fast
Polynomial = dict[Monomial, "Exact"]

_ARITHMETIC = (P.add, P.subtract, P.multiply, P.divide, P.negative)
_EXPANDED = frozenset((*_ARITHMETIC, P.square, P.broadcast_to, P.expand_dims))
_MOST_TERMS, _DEEPEST = 12, 12


class _TooLarge(Exception):
    """The expansion would have too many terms, or divide by what may be zero."""


def nonzero(node: Node, depth: int = 0) -> bool:
    """Tell whether a value is, as a real number, positive everywhere (so dividing by it is safe)."""
    if depth > 20:
        return False
    value = number(node)
    if value is not None:
        return value > 0
    if node.op in (P.exp, P.sigmoid, P.softmax, P.softplus, P.size):
        return True
    if node.op in (P.add, P.multiply, P.divide):
        return all(nonzero(x, depth + 1) for x in node.inputs)
    if node.op in (P.sum_, P.mean_, P.sqrt, P.broadcast_to, P.expand_dims, P.reshape, P.transpose):
        return nonzero(node.inputs[0], depth + 1)
    return False


def ratio(a: float | Exact, b: Exact = 1) -> Exact:
    """Divide exactly: a whole number where it is one."""
    if b in (1, -1) and a == int(a):
        return int(a) * b
    from fractions import Fraction  # which loads decimal numbers

    found = Fraction(a) / b
    return found.numerator if found.denominator == 1 else found


def multiply_monomials(a: Monomial, b: Monomial) -> Monomial:
    """Add the exponents."""
    if not a or not b:
        return a or b
    powers = dict(a)
    for atom, exponent in b:
        old = powers.get(atom, 0)
        if old * exponent < 0 and not nonzero(atom):
            raise _TooLarge
        powers[atom] = old + exponent
    return tuple(sorted(((x, e) for x, e in powers.items() if e), key=lambda item: item[0].index))


def add_polynomials(a: Polynomial, b: Polynomial, sign: int = 1) -> Polynomial:
    """Add coefficients, and drop the terms that cancel."""
    result = dict(a)
    for monomial, coefficient in b.items():
        total = result.get(monomial, 0) + sign * coefficient
        if total:
            result[monomial] = total
        else:
            result.pop(monomial, None)
    return result


def multiply_polynomials(a: Polynomial, b: Polynomial) -> Polynomial:
    """Multiply out."""
    if len(a) * len(b) > _MOST_TERMS:
        raise _TooLarge
    result: Polynomial = {}
    for x, c in a.items():
        for y, d in b.items():
            result = add_polynomials(result, {multiply_monomials(x, y): c * d})
    return result


class Expanded(NamedTuple):
    """A polynomial, the nodes whose operations it replaces, and how deep they are stacked."""

    polynomial: Polynomial
    inside: frozenset[Node]
    height: int


class Expansion:
    """Expands nodes, each once: what a chain of n operations asks for is n small expansions."""

    def __init__(self, through_forward: bool) -> None:
        self.through_forward = through_forward  # else what the user computed is an atom
        self.known: dict[Node, Expanded] = {}

    def expand(self, root: Node) -> Expanded:
        """Write a node as a polynomial in atoms.

        Raises:
            _TooLarge: the root itself cannot be written so.
        """
        stack = list(root.inputs)
        while stack:
            node = stack[-1]
            missing = [x for x in node.inputs if x not in self.known] if self.opens(node) else []
            if node in self.known or missing:
                stack.extend(missing) if node not in self.known else stack.pop()
                continue
            self.known[node] = self.look(node)
            stack.pop()
        return self.combine(root)

    def opens(self, node: Node) -> bool:
        """Tell whether a node is looked into: its arithmetic is that of real numbers, and nobody named its result."""
        dtype = node.spec.dtype
        if dtype.kind in "bu" or (dtype.kind == "i" and dtype.itemsize < 8):
            return False  # sums of truth values and of small or unsigned integers are not sums of numbers
        if node.op not in _EXPANDED or node.watched or (node.ct_of is not None and node.spec.ndim > 0):
            return False
        if not (self.through_forward or node.backward or node.spec.weak):
            return False
        # only numbers repeated along new axes are seen through; other broadcasts change the shape
        return node.op not in (P.broadcast_to, P.expand_dims) or node.inputs[0].spec.ndim == 0

    def look(self, node: Node) -> Expanded:
        """Expand one node whose inputs are expanded; one that cannot be is an atom."""
        value = number(node)
        if value is not None and value == value and abs(value) != float("inf"):
            return Expanded({(): ratio(value)} if value else {}, frozenset(), 0)
        if self.opens(node):
            with suppress(_TooLarge):
                return self.combine(node)
        return _atom(node)

    def combine(self, node: Node) -> Expanded:
        """Combine the expansions of a node's inputs; those that are stacked too high count as atoms."""
        known = [self.known[x] for x in node.inputs]
        known = [e if e.height < _DEEPEST else _atom(x) for e, x in zip(known, node.inputs, strict=True)]
        polynomial = _combine(node, [e.polynomial for e in known])
        inside = frozenset((node,)).union(*[e.inside for e in known])
        return Expanded(polynomial, inside, 1 + max(e.height for e in known))


def _atom(node: Node) -> Expanded:
    return Expanded({((node, 1),): 1}, frozenset(), 0)


def _combine(node: Node, parts: list[Polynomial]) -> Polynomial:
    """Do a node's operation on polynomials."""
    if node.op in (P.broadcast_to, P.expand_dims):
        return parts[0]
    if node.op is P.negative:
        return {monomial: -c for monomial, c in parts[0].items()}
    if node.op is P.square:
        return multiply_polynomials(parts[0], parts[0])
    if node.op is P.multiply:
        return multiply_polynomials(*parts)
    if node.op is P.divide:
        if len(parts[1]) != 1:
            parts[1] = {((node.inputs[1], 1),): 1}
        ((monomial, c),) = parts[1].items()
        return multiply_polynomials(parts[0], {tuple((x, -e) for x, e in monomial): ratio(1, c)})
    return add_polynomials(parts[0], parts[1], sign=1 if node.op is P.add else -1)


def cost_of(nodes: set[Node]) -> float:
    """Count operations: a whole array costs 1, a number next to nothing; what the forward pass has is free."""
    arrays = any(node.spec.ndim for node in nodes)
    return sum(1.0 if node.spec.ndim or not arrays else 0.01 for node in nodes if node.backward or node.rule)


def common_factor(polynomial: Polynomial) -> tuple[Exact, Monomial]:
    """Return the number and the atoms that every term has, a division by the same atom included."""
    first, *others = polynomial
    shared = dict(first)
    for monomial in others:
        if not shared:
            break
        powers = dict(monomial)
        for atom, exponent in list(shared.items()):
            other = powers.get(atom, 0)
            if exponent * other <= 0:
                del shared[atom]
            elif abs(other) < abs(exponent):
                shared[atom] = other
    sizes = {c if c > 0 else -c for c in polynomial.values()}
    number_ = sizes.pop() if len(sizes) == 1 else 1
    return number_, tuple(shared.items())  # in the order of the first, which is that of age


def find_complement(polynomial: Polynomial) -> tuple[Monomial, Polynomial, Polynomial] | None:
    """Find a factor 1 − m: in ``r + a + b − a c − b c``, ``c``, ``a + b`` and ``r``.

    Multiplied out, a and a c would be added to others before they cancel, and where c is near 1 (the square of a tanh,
    a probability) only what was lost in rounding would be left.

    Returns:
        m, what is multiplied by 1 − m, and the other terms; None where there is no such factor.
    """
    if not 3 <= len(polynomial) <= 2 * _MOST_TERMS:
        return None
    pairs: dict[Monomial, dict[Monomial, Monomial]] = {}  # by m, terms without it and with it
    for a, c in polynomial.items():
        for b, d in polynomial.items():
            powers = dict(b)
            if c == -d and all(x in powers and powers[x] >= e for x, e in a):
                pairs.setdefault(_without(b, a), {})[a] = b
    best: tuple[Monomial, Polynomial, Polynomial] | None = None
    for factor, found in pairs.items():
        if any(e < 0 for _, e in factor):
            continue
        rest, inner = dict(polynomial), dict[Monomial, Exact]()
        for a, b in found.items():
            if a in rest and b in rest:
                inner[a] = rest.pop(a)
                del rest[b]
        if len(inner) > (0 if best is None else len(best[1])):
            best = factor, inner, rest
    return best


def cost_of_polynomial(polynomial: Polynomial) -> float:
    """Count the operations that `rebuild` will write."""
    if not polynomial:
        return 0.0
    c, shared, terms = take_out(polynomial)
    cost = (0.5 if c != 1 else 0.0) + sum(abs(e) for _, e in shared)
    split = find_complement(terms)
    if split is not None:
        factor, inner, rest = split
        return cost + cost_of_polynomial(inner) + sum(e for _, e in factor) + 1.0 + _cost_of_sum(rest) + bool(rest)
    cost += _cost_of_sum(terms)
    return cost if len(polynomial) > 1 else cost - 1.0 if shared and any(e > 0 for _, e in shared) else cost


def _cost_of_sum(terms: Polynomial) -> float:
    cost = max(len(terms) - 1.0, 0.0)
    for monomial, coefficient in terms.items():
        factors = sum(abs(e) for _, e in monomial)
        cost += max(0, factors - 1) + (1.0 if abs(coefficient) != 1 and factors else 0.0)
        if factors and all(e < 0 for _, e in monomial):
            cost += 1.0
    return cost


def take_out(polynomial: Polynomial) -> tuple[Exact, Monomial, Polynomial]:
    """Return the common factor, a number and atoms, and the polynomial divided by it."""
    c, shared = common_factor(polynomial)
    return c, shared, {_without(m, shared): ratio(k, c) for m, k in polynomial.items()}


def _without(monomial: Monomial, shared: Monomial) -> Monomial:
    if not shared:
        return monomial
    taken = dict(shared)
    rest = ((x, e - taken.get(x, 0)) for x, e in monomial)
    return tuple((x, e) for x, e in rest if e)


def rebuild(s: Simplifier, polynomial: Polynomial) -> Any:
    """Write a polynomial as people would: positive terms first, the common factor outside."""
    if not polynomial:
        return 0.0
    c, shared, terms = take_out(polynomial)
    split = find_complement(terms)
    if split is None:
        return _product(s, c, shared, _sum(s, terms))
    factor, inner, rest = split
    sign = 1 if any(k > 0 for k in inner.values()) else -1
    part = rebuild(s, {m: sign * k for m, k in inner.items()}) * (1.0 - _product(s, 1, factor))
    if not rest:
        return _product(s, c, shared, part) if sign > 0 else -_product(s, c, shared, part)
    if sign > 0 and all(k < 0 for k in rest.values()):
        return _product(s, c, shared, part - _sum(s, {m: -k for m, k in rest.items()}))
    others = _sum(s, rest)
    return _product(s, c, shared, others + part if sign > 0 else others - part)


def _sum(s: Simplifier, polynomial: Polynomial) -> Any:
    """Write the sum of some terms."""
    terms = [(coefficient, monomial) for monomial, coefficient in polynomial.items()]
    terms.sort(key=lambda term: term[0] < 0)
    if len(terms) == 3 and len({number < 0 for number, monomial in terms if monomial}) == 2:
        terms.sort(key=lambda term: not term[1])  # the 1 of z − z σ(z) + 1 last: first, a large z would swallow it
    total: Any = None
    for coefficient, monomial in terms:
        term = _product(s, coefficient if coefficient > 0 else -coefficient, monomial)
        if total is None:
            total = term if coefficient > 0 else -term
        else:
            total = total + term if coefficient > 0 else total - term
    return total


def _product(s: Simplifier, c: Exact, monomial: Monomial, first: Any = None) -> Any:
    above: list[Any] = [s(x) for x, e in monomial for _ in range(e)]
    below: list[Any] = [s(x) for x, e in monomial for _ in range(-e)]
    if first is not None and not (isinstance(first, float) and first == 1):
        above.insert(0, first)
    exact = c.numerator > 1 and c.denominator & (c.denominator - 1) == 0  # as 819 / 4096, which float16 has for 0.2
    over, under = (float(c), 1) if (exact and c.denominator >= 2**6) or c.denominator >= 2**20 else c.as_integer_ratio()
    if over != 1 or not above:
        above.insert(0, float(over))
    if under != 1:
        below.append(float(under))
    result = reduce(lambda a, b: a * b, above)
    return reduce(lambda a, b: a / b, below, result)


@rule(
    "collected terms", "products multiplied out, equal terms cancelled, a b + a c = a (b + c)", "rounding", *_ARITHMETIC
)
def _collect(s: Simplifier, *inputs: Node) -> Any:
    if not s.in_backward or s.collecting:
        return None
    op = s.applying
    root = Node(op, inputs, {}, op.infer(*[x.spec for x in inputs]))
    root.backward = True
    if root.spec.dtype.kind not in "fi" or not worth_expanding(root):
        return None
    best: Polynomial | None = None
    limit = 0.0
    for through_forward in (False, True):
        try:
            expanded = _expansion(s, through_forward).expand(root)
        except _TooLarge:
            continue
        polynomial = mirror(s, expanded.polynomial)
        if polynomial is None:
            continue
        if best is None:
            limit = cost_of(set(expanded.inside))
        cost = cost_of_polynomial(polynomial)
        if cost < limit and is_float_arithmetic(polynomial, root.spec.dtype):
            best, limit = polynomial, cost
    if best is None:
        return None
    s.collecting = True
    try:
        result = rebuild(s, best)
    finally:
        s.collecting = False
    if isinstance(result, Tracer) and result.spec.weak != root.spec.weak:
        return None  # only numbers are left, and a Python number has no dtype of its own
    return result


def is_float_arithmetic(polynomial: Polynomial, dtype: np.dtype[Any]) -> bool:
    """Tell whether a polynomial, written down by `rebuild`, is computed in this dtype throughout.

    Arrays of another float would lose digits, or bring others. Integers wrap around among themselves: one array of
    them may stand alone as the last term, as the labels do in p − y.
    """
    if dtype.kind != "f":
        return all(x.spec.dtype == dtype for monomial in polynomial for x, _ in monomial)
    c, _ = common_factor(polynomial) if polynomial else (1, ())
    whole: list[tuple[Monomial, Exact]] = []
    for monomial, coefficient in polynomial.items():
        strange = [x for x, _ in monomial if not x.spec.weak and x.spec.dtype != dtype]
        if any(x.spec.dtype.kind == "f" for x in strange):
            return False
        if strange:
            whole.append((monomial, coefficient))
    if not whole:
        return True
    if len(whole) > 1 or len(polynomial) < 2:
        return False
    ((monomial, coefficient),) = whole
    others = [k for m, k in polynomial.items() if m != monomial]
    arrays = [(x, e) for x, e in monomial if x.spec.ndim]
    alone = len(arrays) == 1 and arrays[0][1] == 1 and abs(coefficient) == c
    return alone and (any(k > 0 for k in others) if coefficient < 0 else False)


def _expansion(s: Simplifier, through_forward: bool) -> Expansion:
    found: Expansion = s.expansions.setdefault(through_forward, Expansion(through_forward))
    return found


def worth_expanding(root: Node) -> bool:
    """Tell whether anything can cancel or move: a sum, a quotient or a number below a product of products."""
    stack = [(root, 0)]
    seen = {root}
    nested = found = False
    while stack:
        node, depth = stack.pop()
        if node.op in _ARITHMETIC and depth < _DEEPEST:
            nested = nested or node is not root
            found = found or node.op is not P.multiply
            stack.extend((x, depth + 1) for x in node.inputs if x not in seen)
            seen.update(node.inputs)
        else:
            found = found or (node.spec.ndim == 0 and root.spec.ndim > 0)
        if nested and found:
            return True
    return False


def mirror(s: Simplifier, polynomial: Polynomial) -> Polynomial | None:
    """Replace σ(−z) by 1 − σ(z) throughout, where both stand."""
    atoms = {x for m in polynomial for x, _ in m if x.op is P.sigmoid}
    for atom in atoms:
        if atom.inputs[0].op is not P.negative:
            continue
        other = s.add(P.sigmoid, (atom.inputs[0].inputs[0],), {})
        if other not in atoms:
            continue
        result: Polynomial = {}
        complement: Polynomial = {(): 1, ((other, 1),): -1}
        try:
            for monomial, c in polynomial.items():
                exponent = dict(monomial).get(atom, 0)
                if exponent < 0:
                    return None
                term: Polynomial = {tuple((x, e) for x, e in monomial if x is not atom): c}
                for _ in range(exponent):
                    term = multiply_polynomials(term, complement)
                result = add_polynomials(result, term)
        except _TooLarge:
            return None
        polynomial = result
    return polynomial
