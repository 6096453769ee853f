"""Admission reviews on the wire. Source: k8s.io/api/admission/v1, AdmissionReview."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec

from thoughtgate_injector.core.untyped import mapping

API_VERSION: Final = "admission.k8s.io/v1"


class ResourceType(msgspec.Struct, frozen=True):
    """The resource of a request."""

    group: str
    version: str
    resource: str


class AdmissionRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a review's request that we read."""

    uid: str
    operation: str
    resource: ResourceType
    user_info: dict[str, Any]
    object: dict[str, Any]
    sub_resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    dry_run: bool | None = None

    def asks(self) -> tuple[str, str, str, str | None]:
        """Give group, version, resource and subresource."""
        one = self.resource
        return one.group, one.version, one.resource, self.sub_resource or None

    def generated_name(self) -> str | None:
        """Give the prefix of the name that the API server will generate, with a `*`."""
        front = mapping(self.object.get("metadata")).get("generateName")
        return f"{front}*" if isinstance(front, str) else None


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: Literal["admission.k8s.io/v1"]
    kind: Literal["AdmissionReview"]
    request: AdmissionRequest


class MalformedReviewError(ValueError):
    """The body is not an admission review; the message is one line for its sender."""


def read(body: bytes) -> tuple[AdmissionRequest, dict[str, Any]]:
    """Decode a review; give its request and the whole document. Raises MalformedReviewError."""
    try:
        document = msgspec.json.decode(body)
        return msgspec.convert(document, _Review).request, document
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReviewError(f"this is no review of {API_VERSION}: {error}") from error


def allowed(uid: str, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Make the review that allows the object, with warnings for kubectl to show."""
    return _answer({"uid": uid, "allowed": True, **({"warnings": warnings} if warnings else {})})


def refusal(uid: str, code: HTTPStatus, message: str) -> dict[str, Any]:
    """Make the review that refuses the object."""
    status = {"code": int(code), "message": message}
    return _answer({"uid": uid, "allowed": False, "status": status})


def _answer(response: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": dict(response)}
