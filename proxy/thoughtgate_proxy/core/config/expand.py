"""`${VAR}` and `${VAR:-default}` in a text that has already been parsed, `$${` for a plain `${`.

After parsing, so that a variable's value can add no key and no line to the configuration.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\})?")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class NotExpandedError(ValueError):
    """Why a text could not be expanded: one line, without any variable's value."""


class NotKnownError(ValueError):
    """A variable's value is not known here; the text is one line that names it."""


def expand(text: str, environ: Mapping[str, str] | None) -> str:
    """`text` with its variables put in, once: what comes out is not expanded again.

    As in the shell, `:-` applies to an empty variable too. Raises NotExpandedError for a variable
    that is not set and has no default, and for what only looks like a reference. Where `environ`
    is None the environment is not known: defaults are taken, and a variable without one raises
    NotKnownError.
    """

    def value(reference: re.Match[str]) -> str:
        if reference[0] == "$${":
            return "${"
        if reference[2] is None:
            raise NotExpandedError("`${` without its `}`; write `$${` for a plain `${`")
        inside = _INSIDE.fullmatch(reference[1])
        if inside is None:
            raise NotExpandedError(
                f"`{reference[0]}` is not `${{NAME}}` or `${{NAME:-default}}`; "
                "write `$${` for a plain `${`"
            )
        name, default = inside[1], inside[2]
        if environ is None:
            if default is None:
                raise NotKnownError(
                    f"the variable `{name}` is not known here, so this is not checked; the sidecar "
                    f"must have it, or give a default: `${{{name}:-...}}`"
                )
            return str(default)
        if default is None and name not in environ:
            raise NotExpandedError(
                f"the variable `{name}` is not set; set it, or give a default: `${{{name}:-...}}`"
            )
        return environ.get(name, "") or default or ""

    return _REFERENCE.sub(value, text)
