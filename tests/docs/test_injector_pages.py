"""The pages name what there is: options, words, and commands that are right."""

import shlex
from pathlib import Path

import yaml

from tests.manifests.test_manifests import MANIFESTS, objects
from thoughtgate_injector.cli import _parser
from thoughtgate_injector.core import names, options, pod_summary
from thoughtgate_injector.core.resources import PROFILES

DOCS = Path(__file__).parents[2] / "docs"
INJECT = (DOCS / "inject.md").read_text()
INSTALL = (DOCS / "install.md").read_text()
OPERATE = (DOCS / "operate.md").read_text()


def test_every_option_and_every_word_stands_in_the_page() -> None:
    for name in options.NAMES:
        assert f"`{names.PREFIX}{name}`" in INJECT
    for word in pod_summary.OPTING_IN:
        assert word in INJECT
    for level in names.LOG_LEVELS:
        assert f"`{level}`" in INJECT


def test_the_profiles_are_those_of_the_code() -> None:
    for profile, share in PROFILES.items():
        row = (share.memory_request, share.memory_limit, share.cpu_request, share.cpu_limit)
        assert f"| `{profile.value}` | {' | '.join(row)} |" in INJECT


def test_the_glass_is_broken_by_the_names_of_what_is_installed() -> None:
    [command] = [line for line in OPERATE.splitlines() if line.startswith("kubectl delete ")]
    there = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in objects()}
    named = set(shlex.split(command)[2:])
    assert len(named) == 2
    assert named <= there


def test_uninstalling_begins_with_all_that_could_refuse_a_pod_policies_before_webhooks() -> None:
    """A policy that outlives the webhook refuses the pods that the webhook no longer changes."""
    page = INSTALL.partition("## Uninstalling\n")[2].partition("\n## ")[0]
    *first, rest = [shlex.split(line) for line in page.splitlines() if line.startswith("kubectl ")]
    assert rest[:3] == ["kubectl", "delete", "-k"]
    refusing = [each for each in objects() if "admissionregistration" in each["apiVersion"]]
    # `policies` for `policy`: kubectl's plural.
    plurals = {f"{each['kind'].lower()}s".replace("policys", "policies") for each in refusing}
    webhooks = {kind for kind in plurals if "webhook" in kind}
    assert [set(words[2].split(",")) for words in first] == [plurals - webhooks, webhooks]
    for words in first:
        key, _, value = words[4].partition("=")
        assert all(each["metadata"]["labels"][key] == value for each in refusing)


def test_every_component_is_listed_and_there() -> None:
    for folder in (MANIFESTS / "components").iterdir():
        assert f"| `{folder.name}` |" in INSTALL
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        assert kustomization["kind"] == "Component"


def test_the_watchdogs_arguments_are_those_of_the_command() -> None:
    chosen = _parser().parse_args(
        ["watch", "--evict=missing", "--evict=outdated", "--eviction-interval=30"]
    )
    assert chosen.evict == ["missing", "outdated"]
    default = _parser().parse_args(["watch"])
    assert default.evict == []
    assert f"`--eviction-interval=SECONDS` ({default.eviction_interval:g})" in OPERATE
