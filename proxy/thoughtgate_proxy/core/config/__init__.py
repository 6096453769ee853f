"""The configuration: its values, its strict reading, and the Cedar policies that go with it.

Pure: bytes and the environment come in, a `Config` or every mistake comes out. Files are read by
`thoughtgate_proxy.runtime.config_loader`.
"""

from thoughtgate_proxy.core.config.cedar import CedarPolicies, CedarPolicy
from thoughtgate_proxy.core.config.mistakes import ConfigNotKnown, ConfigRefused, Mistake
from thoughtgate_proxy.core.config.values import Config

__all__ = [
    "CedarPolicies",
    "CedarPolicy",
    "Config",
    "ConfigNotKnown",
    "ConfigRefused",
    "Mistake",
]
