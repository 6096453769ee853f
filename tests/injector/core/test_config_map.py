"""A ConfigMap as the files that a sidecar finds in it."""

import pytest

from thoughtgate_injector.core import config_map
from thoughtgate_injector.core.config_map import ConfigFiles
from thoughtgate_injector.core.refusal import Refusal


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "the key `config.yaml` is missing, which the sidecar reads; found no key at all"),
        ({"data": {"config.yml": "", "a.cedar": ""}}, "found `a.cedar`, `config.yml`"),
        ({"data": ["config.yaml"]}, "`data` is no mapping"),
        ({"data": {"config.yaml": 1}}, "`data.config.yaml` cannot be read"),
        ({"binaryData": {"config.yaml": "!"}}, "`binaryData.config.yaml` cannot be read"),
        ({"data": {"config.yaml": "", "../x": ""}}, "the key `../x`, which names no file"),
        ({"data": {"config.yaml": "", "..x": ""}}, "the key `..x`, which names no file"),
        ({"data": {"config.yaml": "", ".": ""}}, "cannot be read"),
        ({"data": {"config.yaml": "\ud800"}}, "cannot be read"),
        ({"binaryData": {"config.yaml": "Y Q=="}}, "`binaryData.config.yaml` cannot be read"),
        ({"data": {"config.yaml": "", "a" * 254: ""}}, "which names no file"),
    ],
)
def test_a_configmap_that_holds_no_configuration_is_refused(
    document: dict[str, object], words: str
) -> None:
    result = config_map.read(document)
    assert isinstance(result, Refusal)
    assert words in str(result)


def test_binary_data_are_files_too() -> None:
    document = {"data": {"config.yaml": "a"}, "binaryData": {"b": "/w=="}}
    assert config_map.read(document) == ConfigFiles(b"a", {"b": b"\xff"})


def test_the_longest_key_names_a_file() -> None:
    found = config_map.read({"data": {"config.yaml": "", "a" * 253: "x"}})
    assert found == ConfigFiles(b"", {"a" * 253: b"x"})
