"""Headers that a source adds to each request, read again when their files rotate."""

from collections.abc import Mapping
from pathlib import Path

from thoughtgate_proxy.core.config.values import Credential, Source
from thoughtgate_proxy.runtime.file_stamp import FileStamp


class CredentialMissing(Exception):
    """A credential cannot be read; the message names the header, never the value.

    Nor the variable or the file: somebody may have written the value in their place.
    """


class SourceHeaders:
    """The headers of one source: texts, environment variables and files."""

    def __init__(self, source: Source, folder: Path, environ: Mapping[str, str]) -> None:
        """`folder` is where relative paths start. Raises `CredentialMissing`."""
        self._fixed: list[tuple[str, str]] = []
        self._files: list[tuple[str, Path, str]] = []
        self._read: dict[Path, tuple[FileStamp | None, str]] = {}
        for name, value in source.headers.items():
            match value:
                case Credential(file=str(file)):
                    self._files.append((name.lower(), folder / file, value.prefix))
                case Credential(env=str(variable)):
                    if variable not in environ:
                        raise CredentialMissing(f"header `{name}`: its variable is not set")
                    text = value.prefix + environ[variable]
                    self._fixed.append((name.lower(), _legal(name, text)))
                case str(text):
                    self._fixed.append((name.lower(), _legal(name, text)))
        self.names = frozenset(name.lower() for name in source.headers)

    def current(self) -> list[tuple[str, str]]:
        """The headers as they stand now. Raises `CredentialMissing`."""
        if not self._files:
            return self._fixed
        return [
            *self._fixed,
            *((name, self._value(name, path, prefix)) for name, path, prefix in self._files),
        ]

    def _value(self, name: str, path: Path, prefix: str) -> str:
        try:
            stamp, known = FileStamp.of(path), self._read.get(path)
            if known is None or known[0] != stamp:
                text = path.read_text("utf-8").rstrip("\r\n")
                known = self._read[path] = (stamp, _legal(name, prefix + text))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise CredentialMissing(f"header `{name}`: its file: {reason}") from error
        return known[1]


def _legal(name: str, value: str) -> str:
    """Refuse what would not be one header line."""
    if not value.isascii() or any(character < " " or character == "\x7f" for character in value):
        raise CredentialMissing(f"header `{name}`: the value is not printable ASCII on one line")
    return value
