"""A Cedar policy rewritten so that Cedar itself errs where an argument has another type.

Cedar's `==`, `contains` and the like are false, without an error, between values of two types, and
`has` is false of null. Servers coerce ("1" or true for 1), so a `forbid` written with them would
let another spelling of the same value through. Each such comparison gets a guard before it, an
expression that is true or errs: `P == 1` becomes `(P < 0 || true) && P == 1`. It stands where the
comparison stood, so what Cedar does not reach cannot err.

What no Cedar operator can tell (a list's elements, whether two arguments have one type, whether
something is a record) is read from `resource.kinds`: the arguments again, each value that is no
record and no list replaced by the name of its kind (`cedar_values.kinds`).
"""

from typing import Any

from thoughtgate_proxy.core import lazy_import
from thoughtgate_proxy.core.config.cedar_rewriter import Rewriter
from thoughtgate_proxy.core.config.cedar_text import Statement, tokens, too_deep
from thoughtgate_proxy.core.config.cedar_types import RESOURCE_TEXTS, CannotGuardError, Guarded

cedarpy = lazy_import.loaded("cedarpy")

# A third of what crashed Cedar's parser on a stack of 8 MiB; the guards add parentheses.
_MAX_NESTING = 200
# cedarpy refuses more than 100 levels, but dies of a chain of 2,000 before it has counted them.
_MAX_OPERATORS = 500
_NESTING = frozenset({"&&", "||", "+", "-", "*", "!", ".", "has", "if"})


def guarded(statement: Statement) -> Guarded:
    """Rewrite one policy that Cedar can read. Raises `CannotGuardError`."""
    tree = _tree(statement)
    if tree is None:
        if _reads_texts_alone(statement):
            return Guarded(statement.text)
        raise CannotGuardError(
            "the policy nests more than 100 operators, too deep to have its comparisons checked; "
            "allowed: several policies, or `[...].contains(...)` in place of a chain"
        )
    pst = cedarpy.pst
    ((name, policy),) = tree.static_policies.items()
    rewriter = Rewriter()
    clauses = tuple(type(clause)(rewriter.boolean(clause.expr)) for clause in policy.clauses)
    text = statement.text
    if rewriter.changed:
        whole = pst.Template(
            policy.id, policy.effect, policy.principal, policy.action, policy.resource, clauses,
            policy.annotations,
        )  # fmt: skip
        try:
            text = str(cedarpy.PolicySet.from_pst(pst.PolicySet({}, {name: whole}, ())))
        except ValueError as error:
            raise CannotGuardError(f"its comparisons cannot be checked: {error}") from error
        if deep := too_deep(tokens(text), "([{", ")]}", _MAX_NESTING):
            raise CannotGuardError(f"with its comparisons checked, {deep}")
    return Guarded(
        text,
        tuple(rewriter.uses),
        frozenset(rewriter.reads),
        frozenset(rewriter.values),
        frozenset(rewriter.attributes),
    )


def _tree(statement: Statement) -> Any:
    """The policy as `cedarpy.pst` has it, or None where it nests too deep for that."""
    operators = sum(token.text in _NESTING for token in statement.tokens)
    if operators > _MAX_OPERATORS:
        return None
    try:
        return cedarpy.policies_to_pst(statement.text)
    except ValueError:
        return None


def _reads_texts_alone(statement: Statement) -> bool:
    """Whether each `resource` of the conditions is asked for a text that is no argument."""
    body = [token for token in statement.tokens if token.start >= len(statement.head) - 1]
    for place, token in enumerate(body):
        after = [follower.text for follower in body[place + 1 : place + 3]]
        if token.kind == "word" and token.text == "resource":
            if len(after) < 2 or after[0] != "." or after[1] not in RESOURCE_TEXTS:
                return False
        elif token.text == "::":
            return False
    return True
