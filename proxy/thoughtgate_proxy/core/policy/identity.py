"""Who is calling: the pod's labels, as the downwardAPI volume writes them, and the principal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Kubernetes' own syntax of a label's key and value (apimachinery, validation.go).
_KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LINE = re.compile(r'([^=]+)="([^"\\]*)"')

APP_LABELS = ("app", "app.kubernetes.io/name")
TEAM_LABEL = "team"


class IdentityRefused(ValueError):
    """The labels, or the words on the command line, cannot be an identity; one line says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The principal of every decision of this process.

    `app` and `team` hold no `/`, so `Agent::"team/app"` cannot be forged by a label's value.
    """

    app: str
    team: str | None
    labels: Mapping[str, str]
    namespace: str | None
    pod: str | None
    from_pod_name: bool = False

    @property
    def agent(self) -> str:
        """The id of the Cedar principal: `team/app`, or `app` without a team."""
        return f"{self.team}/{self.app}" if self.team else self.app


def parse_labels(text: str) -> dict[str, str]:
    """Read a labels file: one `key="value"` a line. Raises `IdentityRefused`.

    The kubelet quotes values as Go does; a legal label value needs no escapes, so a file with
    escapes was not written by a kubelet.
    """
    labels: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if not match or not _KEY.fullmatch(match[1]) or not _VALUE.fullmatch(match[2]):
            raise IdentityRefused(
                f"line {number} of the labels is `{ascii(line[:120])[1:-1]}`; "
                'allowed is key="value", both of them legal in Kubernetes'
            )
        if match[1] in labels:
            raise IdentityRefused(f"the label `{match[1]}` stands twice, in line {number} again")
        labels[match[1]] = match[2]
    return labels


def from_labels(
    labels: Mapping[str, str], namespace: str | None = None, pod: str | None = None
) -> Identity:
    """The identity that `labels` give; without an app label it is the pod's name.

    Raises `IdentityRefused` if there is neither.
    """
    app = next((labels[key] for key in APP_LABELS if labels.get(key)), None)
    team = labels.get(TEAM_LABEL) or None
    if app is not None:
        return Identity(app, team, dict(labels), namespace, pod)
    if not pod:
        raise IdentityRefused(
            f"the labels have none of {', '.join(f'`{key}`' for key in APP_LABELS)}, "
            "and POD_NAME is not set"
        )
    return Identity(pod, team, dict(labels), namespace, pod, from_pod_name=True)


def from_words(words: str, namespace: str | None = None, pod: str | None = None) -> Identity:
    """The identity `team/app` or `app`, as `--identity` takes it. Raises `IdentityRefused`."""
    *team, app = words.split("/")
    if len(team) > 1 or not all(part and _VALUE.fullmatch(part) for part in (*team, app)):
        raise IdentityRefused(
            f"the identity is `{ascii(words)[1:-1]}`, allowed is `team/app` or `app`, "
            "each a legal label value"
        )
    labels = {APP_LABELS[0]: app} | ({TEAM_LABEL: team[0]} if team else {})
    return from_labels(labels, namespace, pod)
