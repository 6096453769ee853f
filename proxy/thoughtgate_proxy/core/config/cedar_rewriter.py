"""The walk over a policy's conditions that puts a guard before each comparison of an argument."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from thoughtgate_proxy.core import lazy_import
from thoughtgate_proxy.core.config.cedar_types import (
    ARGUMENTS,
    ERRING,
    KINDS,
    NUMBERS,
    PRINCIPAL,
    RESOURCE,
    RESOURCE_TEXTS,
    SCALARS,
    UNARY,
    ArgumentPath,
    CannotGuardError,
    Type,
    Use,
)
from thoughtgate_proxy.core.config.mistakes import listed, nearest

cedarpy = lazy_import.loaded("cedarpy")

# An expression of `cedarpy.pst`, which is loaded only where there are policies.
Expr = Any


@dataclass(frozen=True, slots=True)
class _ListLiteral:
    """A list written out: the expressions in it, with their shapes."""

    members: tuple[tuple[Expr, "_Shape"], ...]


@dataclass(frozen=True, slots=True)
class _RecordLiteral:
    """A record written out."""

    members: tuple[tuple[str, Expr, "_Shape"], ...]


class _Unknown:
    """Something that may come from an argument, by a way that is not followed."""


_UNKNOWN = _Unknown()
_Shape = Type | ArgumentPath | _ListLiteral | _RecordLiteral | _Unknown


_LITERALS = {
    "BoolLit": Type.BOOLEAN, "LongLit": Type.INTEGER, "StringLit": Type.STRING,
    "EntityLit": Type.ENTITY,
}  # fmt: skip


class Rewriter:
    """Walks one policy's conditions; what it notes on the way is `cedar_guards`' to give out."""

    def __init__(self) -> None:
        self.pst = cedarpy.pst
        self.changed = False
        self.uses: dict[Use, None] = {}
        self.reads: set[tuple[str, ...]] = set()
        self.values: set[tuple[str, ...]] = set()
        self.attributes: set[str] = set()
        self._types: dict[tuple[ArgumentPath, bool], Type] = {}

    def boolean(self, node: Expr) -> Expr:
        """`node` where a boolean is needed."""
        return self._needed(node, Type.BOOLEAN)

    def _needed(self, node: Expr, kind: Type) -> Expr:
        """`node` where Cedar errs by itself unless it has the type."""
        expr, shape = self._walk(node)
        if isinstance(shape, ArgumentPath):
            if kind is Type.OTHER:
                raise CannotGuardError(f"`resource.{shape}` is JSON, and never of this type")
            self._use(shape, kind)
        return expr

    def _use(self, path: ArgumentPath, kind: Type, each: bool = False) -> None:
        if path.root == NUMBERS and kind in SCALARS and kind is not Type.DECIMAL:
            raise CannotGuardError(
                f'`resource.{path}` is a decimal; allowed: to compare it with `decimal("1.0")`',
                path.keys[-1] if path.keys else "",
            )
        before = self._types.setdefault((path, each), kind)
        if before is not kind:
            raise CannotGuardError(
                f"`resource.{path}` is compared as {_a(before)} and as {_a(kind)}; allowed: one "
                f'type in a policy. `resource.{NUMBERS}` has every number as a decimal',
                path.keys[-1] if path.keys else "",
            )  # fmt: skip
        self.uses[Use(path, kind, each)] = None

    def _walk(self, node: Expr) -> tuple[Expr, _Shape]:
        """The expression with its guards, and what its value is."""
        expr, shape = self._visit(node)
        if isinstance(shape, ArgumentPath):
            self.values.add(shape.keys)
        return expr, shape

    def _visit(self, node: Expr) -> tuple[Expr, _Shape]:
        """The same where not the value is needed, but something in it."""
        pst = self.pst
        match node:
            case pst.Var(name=name):
                return node, Type.RECORD if name == "context" else Type.ENTITY
            case pst.GetAttr(base=base, attr=attr):
                return self._attribute(base, attr)
            case pst.HasAttr(base=base, attrs=attrs):
                return self._has(base, attrs), Type.BOOLEAN
            case pst.UnaryOp(op=op, arg=arg):
                needs, gives = UNARY[op]
                return pst.UnaryOp(op, self._needed(arg, needs)), gives
            case pst.BinaryOp(op=op):
                return self._binary(node, op)
            case pst.Like(base=base, pattern=pattern):
                return pst.Like(self._needed(base, Type.STRING), pattern), Type.BOOLEAN
            case pst.Is(base=base, entity_type=kind, in_expr=within):
                asked = self._entity(base)
                return pst.Is(asked, kind, within and self._entity(within)), Type.BOOLEAN
            case pst.IfThenElse(cond=cond, then_expr=then, else_expr=other):
                return self._either(cond, then, other)
            case pst.Set(elements=elements):
                members = tuple(map(self._walk, elements))
                return pst.Set(tuple(expr for expr, _ in members)), _ListLiteral(members)
            case pst.Record(fields=fields):
                walked = {key: self._walk(value) for key, value in fields.items()}
                record = pst.Record({key: expr for key, (expr, _) in walked.items()})
                return record, _RecordLiteral(tuple((key, *pair) for key, pair in walked.items()))
        literal = _LITERALS.get(type(node).__name__)
        if literal is None:
            raise CannotGuardError(f"`{type(node).__name__}` is not known here")
        return node, literal

    def _attribute(self, base: Expr, attr: str) -> tuple[Expr, _Shape]:
        pst = self.pst
        expr, shape = self._visit(base)
        node = pst.GetAttr(expr, attr)
        match base, shape:
            case pst.Var(name="resource"), _:
                _known(attr, "resource", RESOURCE)
                if attr in RESOURCE_TEXTS:
                    return node, Type.STRING
                self.attributes.add(attr)
                return node, ArgumentPath(attr)
            case pst.Var(name="principal"), _:
                _known(attr, "principal", PRINCIPAL)
                return node, Type.LABELS if attr == "labels" else Type.STRING
            case pst.Var(name=name), _:
                raise CannotGuardError(f"`{name}` has no attributes here: found `{attr}`", attr)
            case _, Type.LABELS:
                return node, Type.STRING
            case _, ArgumentPath(root, keys):
                self.reads.add((*keys, attr))
                return node, ArgumentPath(root, (*keys, attr))
        return node, _UNKNOWN

    def _has(self, base: Expr, attrs: tuple[str, ...]) -> Expr:
        expr, shape = self._visit(base)
        if isinstance(shape, ArgumentPath):
            parts = []
            for attr in attrs:
                parts.append(self._has_argument(shape, attr))
                shape = ArgumentPath(shape.root, (*shape.keys, attr))
            return self._all(parts)
        if isinstance(shape, _Unknown):
            raise CannotGuardError("`has` of what may or may not be an argument")
        self.attributes |= {ARGUMENTS, NUMBERS}.intersection(attrs)
        return self.pst.HasAttr(expr, attrs)

    def _has_argument(self, path: ArgumentPath, attr: str) -> Expr:
        """`has` in the arguments, and in those of numbers: a number beyond decimal is there too."""
        self.reads.add((*path.keys, attr))
        self.changed |= path.root == NUMBERS or bool(path.keys)
        if path.keys:
            self.uses[Use(ArgumentPath(ARGUMENTS, path.keys), Type.RECORD)] = None
            return self.pst.HasAttr(self._kind(path), (attr,))
        self.attributes.add(ARGUMENTS)
        return self.pst.HasAttr(_below(ARGUMENTS, ()), (attr,))

    def _either(self, cond: Expr, then: Expr, other: Expr) -> tuple[Expr, _Shape]:
        one, one_shape = self._walk(then)
        two, two_shape = self._walk(other)
        node = self.pst.IfThenElse(self.boolean(cond), one, two)
        if _tainted(one_shape) or _tainted(two_shape):
            return node, _UNKNOWN
        return node, one_shape if one_shape == two_shape else Type.OTHER

    def _entity(self, node: Expr) -> Expr:
        expr, shape = self._walk(node)
        if _tainted(shape):
            raise CannotGuardError(
                "an argument is never an entity, so `in`, `is` and tags cannot be asked of it; "
                "allowed: `[...].contains(resource.arguments...)`",
                "in",
            )
        return expr

    def _binary(self, node: Expr, op: str) -> tuple[Expr, _Shape]:
        pst = self.pst
        if op in ("and", "or"):
            # A chain of one operator is cut in the middle: it means the same, and nests less.
            parts = [self.boolean(part) for part in _chain(node, op)]
            return self._joined(op, parts), Type.BOOLEAN
        if op == "in":
            return pst.BinaryOp(op, self._entity(node.left), self._entity(node.right)), Type.BOOLEAN
        if op in ("get_tag", "has_tag"):
            both = self._entity(node.left), self._needed(node.right, Type.STRING)
            return pst.BinaryOp(op, *both), Type.OTHER if op == "get_tag" else Type.BOOLEAN
        if op in ERRING:
            needs, gives = ERRING[op]
            left, right = self._walk(node.left), self._walk(node.right)
            for (_, shape), (_, beside) in ((left, right), (right, left)):
                if isinstance(shape, ArgumentPath) and beside is not Type.OTHER:
                    self._use(shape, needs)
            return pst.BinaryOp(op, left[0], right[0]), gives
        left, right = self._walk(node.left), self._walk(node.right)
        if op == "contains":
            guards = self._contains(*left, *right)
        elif op in ("contains_all", "contains_any"):
            guards = self._overlap(*left, *right)
        else:
            guards = self._equal(*left, *right)
        needed = list(dict.fromkeys(guards))
        self.changed |= bool(needed)
        return self._all([*needed, pst.BinaryOp(op, left[0], right[0])]), Type.BOOLEAN

    def _equal(self, left: Expr, one: _Shape, right: Expr, two: _Shape) -> Iterator[Expr]:
        """The guards of `left == right`."""
        if not _tainted(one) and not _tainted(two):
            return
        if isinstance(two, ArgumentPath) and not isinstance(one, ArgumentPath):
            left, one, right, two = right, two, left, one
        match one, two:
            case ArgumentPath(), ArgumentPath() if one.root != two.root or one.root == NUMBERS:
                yield self._is(left, one, Type.DECIMAL)
                yield self._is(right, two, Type.DECIMAL)
            case ArgumentPath(), ArgumentPath():
                self.uses[Use(one, two)] = None
                kinds = self._kind(one), self._kind(two)
                yield self._or_err(self.pst.BinaryOp("eq", *kinds), kinds[0])
            case ArgumentPath(), Type() if two in SCALARS:
                yield self._is(left, one, two)
            case ArgumentPath(), _ListLiteral():
                yield from self._list_of(left, one, two)
            case ArgumentPath(), _RecordLiteral(fields):
                if one.keys:
                    yield self._is(left, one, Type.RECORD)
                for key, value, shape in fields:
                    inner = ArgumentPath(one.root, (*one.keys, key))
                    there = self._has_argument(one, key)
                    guards = list(self._equal(self.pst.GetAttr(left, key), inner, value, shape))
                    absent = self.pst.UnaryOp("not", there)
                    yield self.pst.BinaryOp("or", absent, self._all(guards))
            case _:
                raise CannotGuardError(
                    "an argument is compared with what is no boolean, number, string, list or "
                    "record written out; allowed: those, an attribute of the principal, another "
                    "argument"
                )

    def _contains(self, left: Expr, one: _Shape, right: Expr, two: _Shape) -> Iterator[Expr]:
        match one:
            case _ListLiteral(members):
                for expr, shape in members:
                    yield from self._equal(expr, shape, right, two)
            case ArgumentPath():
                yield from self._list_of(left, one, _ListLiteral(((right, two),)))
            case _ if _tainted(one) or _tainted(two):
                raise CannotGuardError("a list that is not written out is asked for an argument")

    def _overlap(self, left: Expr, one: _Shape, right: Expr, two: _Shape) -> Iterator[Expr]:
        match one, two:
            case ArgumentPath(), _ListLiteral():
                yield from self._list_of(left, one, two)
            case _ListLiteral(), ArgumentPath():
                yield from self._list_of(right, two, one)
            case ArgumentPath(), ArgumentPath() if one.root == two.root:
                yield from self._equal(left, one, right, two)
            case _ListLiteral(members), _ListLiteral(others):
                for expr, shape in members:
                    for other, its in others:
                        yield from self._equal(expr, shape, other, its)
            case _ if _tainted(one) or _tainted(two):
                raise CannotGuardError("two lists are compared of which one is not written out")

    def _list_of(self, expr: Expr, path: ArgumentPath, elements: _ListLiteral) -> Iterator[Expr]:
        """That the list at `path` holds nothing but values of the elements' type."""
        pst = self.pst
        if path.root == NUMBERS or not elements.members:
            yield self._is(expr, path, Type.LIST)
        for _, shape in elements.members:
            if isinstance(shape, ArgumentPath) and shape.root == path.root == ARGUMENTS:
                self.uses[Use(path, shape, each=True)] = None
                wanted = self._kind(shape)
            elif isinstance(shape, Type) and shape in SCALARS:
                self._use(path, shape, each=True)
                wanted = pst.StringLit(shape.value)
            else:
                raise CannotGuardError(
                    "a list among the arguments is asked for what is no boolean, number, string "
                    "or other argument"
                )
            if path.root == ARGUMENTS:
                kinds = self._kind(path)
                known = pst.BinaryOp("contains_all", pst.Set((wanted,)), kinds)
                yield self._or_err(known, kinds)

    def _is(self, expr: Expr, path: ArgumentPath, kind: Type) -> Expr:
        """True if the value has the type; errs otherwise."""
        pst = self.pst
        self._use(path, kind)
        true = pst.BoolLit(value=True)
        match kind:
            case Type.BOOLEAN:
                return pst.BinaryOp("or", expr, true)
            case Type.INTEGER:
                return pst.BinaryOp("or", pst.BinaryOp("less", expr, pst.LongLit(0)), true)
            case Type.STRING:
                return pst.BinaryOp("or", pst.Like(expr, (pst.Wildcard(),)), true)
            case Type.LIST:
                return pst.BinaryOp("or", pst.UnaryOp("is_empty", expr), true)
            case Type.RECORD:
                return pst.BinaryOp("or", pst.HasAttr(self._kind(path), ("x",)), true)
        zero = pst.UnaryOp("decimal", pst.StringLit("0.0"))
        return pst.BinaryOp("or", pst.BinaryOp("decimal_less_than", expr, zero), true)

    def _or_err(self, test: Expr, kinds: Expr) -> Expr:
        """`test`, and where it is false an error, as no kind is a number."""
        return self.pst.BinaryOp("or", test, self.pst.BinaryOp("less", kinds, self.pst.LongLit(0)))

    def _kind(self, path: ArgumentPath) -> Expr:
        self.attributes.add(KINDS)
        return _below(KINDS, path.keys)

    def _all(self, parts: list[Expr]) -> Expr:
        return self._joined("and", parts) if parts else self.pst.BoolLit(value=True)

    def _joined(self, op: str, parts: list[Expr]) -> Expr:
        if len(parts) == 1:
            return parts[0]
        middle = len(parts) // 2
        halves = self._joined(op, parts[:middle]), self._joined(op, parts[middle:])
        return self.pst.BinaryOp(op, *halves)


def _chain(node: Expr, op: str) -> Iterator[Expr]:
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, cedarpy.pst.BinaryOp) and part.op == op:
            todo += (part.right, part.left)
        else:
            yield part


def _below(attribute: str, keys: Iterable[str]) -> Expr:
    node = cedarpy.pst.GetAttr(cedarpy.pst.Var("resource"), attribute)
    for key in keys:
        node = cedarpy.pst.GetAttr(node, key)
    return node


def _tainted(shape: _Shape) -> bool:
    match shape:
        case _ListLiteral(members):
            return any(_tainted(inner) for _, inner in members)
        case _RecordLiteral(members):
            return any(_tainted(inner) for _, _, inner in members)
    return isinstance(shape, ArgumentPath | _Unknown)


def _known(attr: str, variable: str, allowed: tuple[str, ...]) -> None:
    if attr not in allowed:
        raise CannotGuardError(
            f"`{variable}` has no attribute `{attr}`, so the policy always errs; allowed: "
            f"{listed(allowed)}{nearest(attr, allowed)}",
            attr,
        )


def _a(kind: Type) -> str:
    return f"an {kind}" if kind is Type.INTEGER else f"a {kind}"
