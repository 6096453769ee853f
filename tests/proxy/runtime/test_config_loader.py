"""Reading the configuration from disk: which files, of one version, and what if there is none."""

import os
from pathlib import Path

import pytest

from tests.proxy.core.config.test_reading import CONFIGS, MINIMAL
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.runtime import config_loader
from thoughtgate_proxy.runtime.config_loader import load

ASKING = MINIMAL.replace(b"deny", b"policy")
NO_FILE = ", which matches no file; required: at least one"
ANY = "permit(principal, action, resource);\n"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigRefused) as refused:
        load(path, {}, CHANNELS)
    return str(refused.value).replace(str(path.parent), "DIR")


def written(folder: Path, cedar: str) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(ASKING + f"cedar: {cedar}\n".encode())
    return path


def ids(path: Path) -> list[str]:
    return [policy.id for policy in load(path, {}, CHANNELS).policies.policies]


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == "DIR/none.yaml: no such file"
    assert refusal(tmp_path / "none" / "c.yaml") == "DIR/c.yaml: no such file"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == "DIR/folder: this is a folder; allowed: a file"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "DIR/pipe: not a regular file"
    (tmp_path / "big").write_bytes(b"#" * (1 << 20) + b"#")
    assert refusal(tmp_path / "big") == "DIR/big: larger than 1048576 bytes"
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop") == (
        "DIR/loop: cannot be read: too many levels of symbolic links"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(MINIMAL)
    path.chmod(0)
    assert refusal(path) == "DIR/config.yaml: cannot be read: permission denied"


def test_globs_take_files_in_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for name in ("b.cedar", "a.cedar", "c.txt", ".hidden.cedar"):
        (tmp_path / "p" / name).write_text(ANY)
    path = written(tmp_path, "{policies: ['p/*.cedar', 'p/b.cedar', 'p/?.txt']}")
    assert ids(path) == ["p/a.cedar#0", "p/b.cedar#0", "p/c.txt#0"]


def test_a_policy_may_stand_anywhere(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "x.cedar").write_text(ANY)
    assert ids(written(inner, "{policies: ../x.cedar}")) == ["../x.cedar#0"]
    assert ids(written(inner, "{policies: ../*.cedar}")) == ["../x.cedar#0"]
    assert ids(written(inner, f"{{policies: {tmp_path}/x.cedar}}")) == [f"{tmp_path}/x.cedar#0"]
    assert ids(written(inner, f"{{policies: '{tmp_path}/*.cedar'}}")) == [f"{tmp_path}/x.cedar#0"]


def test_policy_files_that_cannot_be_read_are_all_reported(tmp_path: Path) -> None:
    (tmp_path / "bad.cedar").write_bytes(b"// ok\n// \xff\n")
    path = written(
        tmp_path, "{policies: [none.cedar, 'x*.cedar', '**/x', 'a[b]', bad.cedar], schema: none}"
    )
    at = "DIR/config.yaml:4:"
    assert refusal(path).splitlines() == [
        f"{at}20: cedar.policies[0]: `none.cedar`: no such file",
        f"{at}32: cedar.policies[1]: found `x*.cedar`{NO_FILE}",
        f"{at}44: cedar.policies[2]: found `**/x`; allowed: a path with `*` and `?`, without `**`",
        f"{at}52: cedar.policies[3]: found `a[b]`; allowed: a path with `*` and `?`, without `[`",
        f"{at}60: cedar.policies[4]: `bad.cedar`: line 2 is not UTF-8",
        f"{at}80: cedar.schema: `none`: no such file",
    ]


def test_mistakes_of_the_document_and_of_its_policies_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("permit();")
    path = written(tmp_path, "{policies: a.cedar}\naudit: {arguments: no}")
    first, second = refusal(path).splitlines()
    assert first.startswith("DIR/config.yaml:5:20: audit.arguments: found `no`")
    assert second.startswith("DIR/a.cedar:1:1: not Cedar:")


def test_policies_without_end_are_refused(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.cedar").write_bytes(b" " * ((1 << 20) - 1))
    path = written(tmp_path, "{policies: '*.cedar'}")
    assert "more than 4194304 bytes of policies; `4.cedar` is over" in refusal(path)


def test_the_digest_changes_with_every_byte_that_went_in(tmp_path: Path) -> None:
    policy, schema = tmp_path / "a.cedar", tmp_path / "s.cedarschema"
    policy.write_text(ANY)
    schema.write_text(
        "entity Agent; entity Tool;\n"
        "action Forward appliesTo { principal: Agent, resource: Tool };\n"
    )
    path = written(tmp_path, "{policies: '*.cedar', schema: s.cedarschema}")
    digests = [load(path, {}, CHANNELS).digest, load(path, {}, CHANNELS).digest]
    assert digests[0] == digests[1]
    for file in (path, policy, schema):
        file.write_bytes(file.read_bytes() + b"\n")
        digests.append(load(path, {}, CHANNELS).digest)
    policy.rename(tmp_path / "b.cedar")
    digests.append(load(path, {}, CHANNELS).digest)
    assert len(set(digests)) == len(digests) - 1


def mount(folder: Path, version: str, files: dict[str, bytes]) -> None:
    """A ConfigMap's volume as the kubelet writes it, `pkg/volume/util/atomic_writer.go`."""
    (folder / version).mkdir(parents=True)
    for name, data in files.items():
        (folder / version / name).write_bytes(data)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").rename(folder / "..data")


def versioned(number: int) -> dict[str, bytes]:
    return {
        "config.yaml": ASKING + f"cedar: {{policies: '*.cedar'}} # {number}\n".encode(),
        f"v{number}.cedar": ANY.encode(),
    }


def test_the_kubelets_volume_is_read_through_its_link(tmp_path: Path) -> None:
    mount(tmp_path, "..2026_1", versioned(1))
    assert ids(tmp_path / "config.yaml") == ["v1.cedar#0"]
    mount(tmp_path, "..2026_2", versioned(2))
    # v1.cedar is a dangling link until the kubelet has cleaned up.
    assert ids(tmp_path / "config.yaml") == ["v2.cedar#0"]


def test_a_swap_while_reading_gives_the_new_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(tmp_path, "..2026_1", versioned(1))
    real = config_loader._read

    def read(path: Path) -> bytes:
        data = real(path)
        if not (tmp_path / "..2026_2").exists():
            mount(tmp_path, "..2026_2", versioned(2))
            for file in (tmp_path / "..2026_1").iterdir():
                file.unlink()
            (tmp_path / "..2026_1").rmdir()
        return data

    monkeypatch.setattr(config_loader, "_read", read)
    loaded = load(tmp_path / "config.yaml", {}, CHANNELS)
    assert [policy.id for policy in loaded.policies.policies] == ["v2.cedar#0"]


def test_a_volume_inside_the_volume_is_found(tmp_path: Path) -> None:
    mount(tmp_path, "..2026_1", {"config.yaml": versioned(1)["config.yaml"]})
    path = tmp_path / "config.yaml"
    assert "`*.cedar`, which matches no file" in refusal(path)
    mount(tmp_path / "cedar", "..2026_5", {"a.cedar": ANY.encode()})
    config = ASKING + b"cedar: {policies: ['cedar/*.cedar', cedar/a.cedar, '*/*.cedar']}\n"
    mount(tmp_path, "..2026_2", {"config.yaml": config, "b.cedar": ANY.encode()})
    assert ids(path) == ["cedar/a.cedar#0"]


def test_a_file_above_the_volume_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.cedar").write_text(ANY)
    config = ASKING + b"cedar: {policies: [../x.cedar]}\n"
    mount(tmp_path / "etc", "..2026_1", {"config.yaml": config, "x.cedar": b"another"})
    assert ids(tmp_path / "etc" / "config.yaml") == ["../x.cedar#0"]


def test_a_relative_path_of_the_configuration_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS)
    assert load(Path("reference.yaml"), {}, CHANNELS).config.sources[0].id == "upstream"
