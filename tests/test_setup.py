"""What is installed is what the locks list: nothing is resolved where something is installed.

The installs are found by reading the files, so a new one without the options fails here.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import lock
from requirements.lock import changes, pins

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# The one place where Python code installs.
INSTALLER = ROOT / "requirements" / "environment.py"

_TOOL = re.compile(r"(.*/)?(pip[\d.]*|pipx|uvx?)")
_VERBS = {"install", "wheel", "download", "sync", "add", "run", "uvx"}
_VARIABLE = re.compile(r"\$[({](\w+)[)}]")
_ASSIGNMENT = re.compile(r"^(\w+) *[:?]?= *(.*)$", re.MULTILINE)


def _files(*patterns: str) -> list[Path]:
    found = (path for pattern in patterns for path in ROOT.rglob(pattern) if path.is_file())
    ours = (path for path in found if not {".venv", ".git", "node_modules"} & {*path.parts})
    return sorted(set(ours))


RECIPES = _files("Makefile", "*Dockerfile*", "*.sh", "*.mk", ".ci/*", ".github/**/*")


def _commands(text: str) -> Iterator[list[list[str]]]:
    """For each recipe or instruction with pip or uv: those commands of it, in words."""
    text = text.replace("\\\n", " ")
    variables = dict(_ASSIGNMENT.findall(text))
    while (new := _VARIABLE.sub(lambda m: variables.get(m[1], m[0]), text)) != text:
        text = new
    # A rule of a Makefile is several lines, and its target may be made by several commands.
    text = re.sub(r"\n(?=\t)", " ; ", _ASSIGNMENT.sub("", text))
    for line in text.splitlines():
        parts = (re.sub(r"[\"'@(){}]", " ", part) for part in re.split(r"&&|\|\||[;|]", line))
        commands = [part.split() for part in parts if not part.lstrip().startswith("#")]
        with_tool = [words for words in commands if any(map(_TOOL.fullmatch, words))]
        if with_tool:
            yield with_tool


def _faults(text: str) -> list[str]:
    """What is wrong with the installs of a Makefile, a Dockerfile or a script."""
    faults = []
    for commands in _commands(text):
        for words, after in pairwise([*commands, []]):
            if not _VERBS & {*words}:
                continue
            if "--no-deps" not in words:
                faults.append(f"without --no-deps: {' '.join(words)}")
            if not {"--no-index", "--no-build-isolation"} & {*words}:
                if "--require-hashes" not in words:
                    faults.append(f"without --require-hashes: {' '.join(words)}")
                if "check" not in after or _environment(after) != _environment(words):
                    faults.append(f"not followed by pip check: {' '.join(words)}")
            elif "-r" in words:
                faults.append(f"a lock, installed as our own package is: {' '.join(words)}")
    return faults


def _environment(words: list[str]) -> list[str]:
    """Whose pip it is, and for which interpreter."""
    tool = next(n for n, word in enumerate(words) if _TOOL.fullmatch(word))
    whose = words[tool - 2] if words[tool - 1 : tool] == ["-m"] else words[tool]
    told = words.index("--python") if "--python" in words else len(words)
    return [whose, *words[told : told + 2]]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_install_takes_a_lock_as_it_stands_and_is_checked(file: Path) -> None:
    assert _faults(file.read_text()) == []


def test_the_files_that_install_are_found() -> None:
    installing = {
        str(file.relative_to(ROOT))
        for file in RECIPES
        for commands in _commands(file.read_text())
        if any("--require-hashes" in words for words in commands)
    }
    assert installing == {
        "Makefile", "Dockerfile.proxy", "Dockerfile.injector", "tests/cluster/pods/Dockerfile",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("RUN pip install --no-deps --require-hashes -r a.txt && pip check\n", 0),
        ("RUN pip install --no-deps \\\n  --require-hashes -r a.txt \\\n && pip check\n", 0),
        ("RUN pip install --no-deps --require-hashes -r a.txt\n", 1),
        ("RUN pip install --require-hashes -r a.txt && pip check\n", 1),
        ("RUN pip install --no-deps -r a.txt && pip check\n", 1),
        ("RUN pip install --no-deps --no-index -r a.txt\n", 1),
        ("RUN /a/pip install --no-deps --require-hashes -r a.txt && /b/pip check\n", 1),
        ("RUN bash -c 'pip3 install x'\n", 3),
        ("P := pip\nI := $(P) install\nx:\n\t$(I) x\n\tpip check\n", 2),
        ("x:\n\t@uv sync\n", 3),
        ("x:\n\tpip install --no-deps --require-hashes -r a\ny:\n\tpip check\n", 1),
        ("RUN pip install -q --no-deps --no-build-isolation .\n", 0),
        ("# pip install x\n", 0),
    ],
)
def test_an_install_that_resolves_is_found(text: str, faults: int) -> None:
    assert len(_faults(text)) == faults


def _strings(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        # A docstring may speak of pip.
        if isinstance(node, ast.Constant) and id(node) not in statements:
            yield str(node.value)


def test_python_code_installs_in_one_place() -> None:
    elsewhere = []
    for file in set(_files("*.py")) - {INSTALLER, Path(__file__)}:
        words = {word for text in _strings(file) for word in text.split()}
        if any(map(_TOOL.fullmatch, words)) and words & _VERBS:
            elsewhere.append(str(file.relative_to(ROOT)))
    assert elsewhere == []


def test_that_place_takes_the_lock_as_it_stands_and_checks_it() -> None:
    commands = [
        [word.value for word in node.elts if isinstance(word, ast.Constant)]
        for node in ast.walk(ast.parse(INSTALLER.read_text()))
        if isinstance(node, ast.List)
    ]
    [place] = [n for n, words in enumerate(commands) if _VERBS & {*map(str, words)}]
    assert {"--no-deps", "--require-hashes", "-r"} <= {*commands[place]}
    assert commands[place + 1] == ["check"]


def test_each_lock_is_one_that_make_lock_renews() -> None:
    assert {file.stem for file in LOCKS} == {*lock.LEADING, *lock.FOLLOWING, *lock.APART}


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: file.stem)
def test_a_lock_names_versions_and_hashes_and_no_place(file: Path) -> None:
    for entry in re.sub(r"\\\n *|(?m:^ *#.*)", "", file.read_text()).splitlines():
        if entry:
            assert re.fullmatch(
                r"[\w.-]+==[\w.+!]+( ; [^@]+?)?( ?--hash=sha256:[0-9a-f]{64})+", entry
            ), entry
    for word in ("index-url", "find-links", "://", "trusted-host"):
        assert word not in file.read_text()


@pytest.mark.parametrize("name", lock.FOLLOWING)
def test_what_ships_is_what_is_tested(name: str) -> None:
    tested = pins((ROOT / "requirements" / "dev.txt").read_text())
    locked = pins((ROOT / "requirements" / f"{name}.txt").read_text())
    both = tested.keys() & locked.keys()
    assert {package: locked[package] for package in both} == {
        package: tested[package] for package in both
    }


@pytest.mark.parametrize("name", ["proxy", "injector", "examples", "bench", "dev"])
def test_a_lock_fulfils_what_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = pins((ROOT / "requirements" / f"{name}.txt").read_text())
    for text in project["optional-dependencies"][name]:
        wanted = Requirement(text)
        if wanted.name != project["name"]:
            assert locked[canonicalize_name(wanted.name)] in wanted.specifier, text


def _modules(program: str) -> dict[str, str]:
    """Go module -> version, of a program of the cluster."""
    text = (ROOT / "tests" / "cluster" / program / "go.mod").read_text().partition("\nexclude")[0]
    asked = re.findall(r"(?m)^(?:require|\t) ?(\S+) (v\S+)", text)
    return dict(asked) | dict(re.findall(r"(?m)^\t(\S+) => \S+ (v\S+)", text))


def test_go_compiles_once_what_two_programs_of_the_cluster_need() -> None:
    node, dns = _modules("node"), _modules("dns")
    both = node.keys() & dns.keys()
    assert both >= {"k8s.io/client-go", "google.golang.org/grpc"}
    assert {name: dns[name] for name in both} == {name: node[name] for name in both}


def test_the_images_that_are_named_are_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files = [*_files("manifests/**/*.yaml", "injector/**/*.py"), ROOT / "README.md"]
    named = {
        (str(file.relative_to(ROOT)), tag)
        for file in [*files, ROOT / "docs" / "install.md"]
        for tag in re.findall(r"/thoughtgate-(?:proxy|injector):([\w.-]+)", file.read_text())
    }
    assert {file for file, _ in named} >= {"README.md", "manifests/base/deployment.yaml"}
    assert {tag for _, tag in named} == {f"v{version}"}


def test_what_changed_in_a_lock_is_told_by_package() -> None:
    old = "a==1 \\\n    --hash=sha256:1\nb==1 ; x \\\n    --hash=sha256:2\nc==1 \\\n"
    assert changes(old, old) == []
    assert changes("", old) == ["new, with 3 packages"]
    assert changes(old, old.replace("b==1", "b==2")) == ["b 1 -> 2"]
    assert changes(old, old.replace("c==1", "d==1")) == ["c 1 -> none", "d none -> 1"]
    [same] = changes(old, old.replace("sha256:2", "sha256:3"))
    assert same.startswith("the same versions")
