"""Libraries that only some configurations need: each is loaded when it is first used."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType


def loaded(name: str) -> ModuleType:
    """The module called `name`, which runs when one of its names is first asked for.

    Raises `ModuleNotFoundError` at once if there is none.
    """
    if (already := sys.modules.get(name)) is not None:
        return already
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"no module named `{name}`")
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
