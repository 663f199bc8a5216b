"""What went wrong, in Loafer's words: AWS's error codes and boto's exceptions onto the four provider errors.

Never by HTTP status where the code is known: 403 is throttling as well as a refusal. Codes come as
``QueueDoesNotExist``, ``AWS.SimpleQueueService.NonExistentQueue`` or with some other prefix, so the last part of each
is compared; SNS says ``NotFound`` where its exceptions are called ``NotFoundException``. What AWS writes beside a code
may hold receipts, bodies and signatures; it is repeated only where it tells what was denied.
"""

from __future__ import annotations

import os
import socket
import ssl

from loafer_core import CredentialError, ProviderError, SourceConfigError, Throttled, Unavailable


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


THROTTLED = _codes(
    "RequestThrottled OverLimit KmsThrottled KMSThrottling KMSThrottlingException "
    "Throttling ThrottlingException Throttled ThrottledException "
    "RequestThrottledException TooManyRequestsException RequestLimitExceeded SlowDown BandwidthLimitExceeded"
)
UNAVAILABLE = _codes(
    "InternalError InternalErrorException InternalFailure ServiceUnavailable RequestTimeout RequestTimeoutException"
)
CREDENTIAL = _codes(
    "ExpiredToken ExpiredTokenException RequestExpired RequestTimeTooSkewed NoCredentialsError NoAuthTokenError "
    "CredentialRetrievalError MetadataRetrievalError TokenRetrievalError UnauthorizedSSOTokenError SSOTokenLoadError "
    "SSOError LoginError"
)
ROTATED = _codes("SignatureDoesNotMatch InvalidClientTokenId UnrecognizedClientException")
"""A key that does not fit. It is a mistake when it never did, and a rotation when it did before."""
DENIED = _codes(
    "AccessDenied AccessDeniedException AuthorizationError AuthorizationErrorException "
    "KmsAccessDenied KMSAccessDenied KMSAccessDeniedException"
)
MISSING = _codes("QueueDoesNotExist NonExistentQueue")
CONFIG = _codes(
    "InvalidAddress MissingAuthenticationToken OptInRequired InvalidSecurity UnsupportedOperation InvalidAction "
    "InvalidAttributeName InvalidAttributeValue InvalidParameterValue InvalidParameterCombination MissingParameter "
    "ValidationError MalformedQueryString ResourceNotFoundException NotFoundException DisabledException "
    "InvalidStateException InvalidKeyUsageException KmsNotFound KmsDisabled KmsInvalidState KmsInvalidKeyUsage "
    "KmsOptInRequired ParamValidationError NoRegionError InvalidRegionError ProfileNotFound PartialCredentialsError "
    "SSLError ConfigNotFound ConfigParseError InvalidConfigError "
    "NotFound InvalidParameter InvalidParameterException ParameterValueInvalid InvalidParameterValueException "
    "ValidationException InvalidSecurityException EndpointDisabled EndpointDisabledException "
    "PlatformApplicationDisabled PlatformApplicationDisabledException KMSNotFound KMSNotFoundException KMSDisabled "
    "KMSDisabledException KMSInvalidState KMSInvalidStateException KMSOptInRequired"
)
STALE = _codes("ReceiptHandleIsInvalid MessageNotInflight InvalidIdFormat InvalidParameterValue")
"""On delete and change: this delivery is not ours any more. AWS says InvalidParameterValue for a lapsed one."""
BATCH = _codes(
    "TooManyEntriesInBatchRequest EmptyBatchRequest BatchEntryIdsNotDistinct InvalidBatchEntryId BatchRequestTooLong"
)
UNSENDABLE = _codes(
    "InvalidMessageContents InvalidParameterValue InvalidParameter InvalidParameterException ParameterValueInvalid "
    "InvalidParameterValueException ValidationException"
)
"""On send: this message cannot be sent, wherever to."""

_HINTS = {
    **dict.fromkeys(
        MISSING,
        "there is no such queue here, or none that these credentials may see; create it, or correct queue, "
        "queue_owner, region_name or endpoint_url",
    ),
    "NotFound": "there is no such topic here; create it, or correct topic, region_name or endpoint_url",
    "NoCredentialsError": "no AWS credentials were found; set aws_access_key_id and aws_secret_access_key, or "
    "profile_name, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run it where a role is attached",
    "NoRegionError": "no AWS region is known; set region_name (for all routes under [defaults.sqs]), or "
    "AWS_DEFAULT_REGION (boto does not read AWS_REGION), or region in the profile",
    "ProfileNotFound": "~/.aws/config has no such profile; correct profile_name or AWS_PROFILE",
    "RequestTimeTooSkewed": "this machine's clock is off by minutes",
    "SignatureDoesNotMatch": "the secret does not belong to the access key, or this machine's clock is off",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "SSLError": "the certificate was not accepted; a private authority's goes into AWS_CA_BUNDLE",
}
_WAYS_AROUND = {
    "get_queue_url": "allow sqs:GetQueueUrl, or give the queue's URL as queue",
    "list_topics": "allow sns:ListTopics, or give the topic's ARN as topic",
}
"""What else would do, where a call was denied that only looks up a name."""
_LINK_ERRORS = _codes("EndpointConnectionError ConnectTimeoutError SSLError ProxyConnectionError")


class Denied(SourceConfigError):
    """We are known, and may not do this."""


class Refused(ProviderError):
    """AWS is well and refuses this very request; ``code`` says why. Asking again does not help."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


def last_part(code: object) -> str:
    """``AWS.SimpleQueueService.NonExistentQueue`` -> ``NonExistentQueue``."""
    return str(code or "").replace("#", ".").rsplit(".", 1)[-1]


def classify(error: Exception, place: str, method: str = "", *, proven: bool = True) -> ProviderError:
    """Give the provider error for what ``method`` (``receive_message``) raised.

    ``place`` says for people where that was; ``proven``: these credentials have worked before.
    """
    answer = getattr(error, "response", None)
    answer = answer if isinstance(answer, dict) else {}
    details = answer.get("Error") or {}
    names = {last_part(details.get("Code")), last_part(details.get("QueryErrorCode"))}
    names |= {kind.__name__ for kind in type(error).__mro__}
    code = _line(details.get("Code") or type(error).__name__, 80)
    status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    text = f"{place}: {code}{_detail(error, names, details, method)}"
    otherwise = Throttled if status in (429, 509) else Unavailable
    return _named(names, last_part(code), text, method, proven=proven) or otherwise(text)


def failed_entry(code: str, place: str, method: str) -> ProviderError:
    """Give the provider error for one entry of a batch, the rest of which may have gone well."""
    code = _line(code, 80)
    text = f"{place}: {code}"
    return _named({last_part(code)}, last_part(code), text, method, proven=True) or Unavailable(text)


def _named(names: set[str], code: str, text: str, method: str, *, proven: bool) -> ProviderError | None:
    if names & _refusals(method):
        return Refused(text, code)
    for codes, kind in _table(proven):
        if names & codes:
            return kind(text)
    return None


def _table(proven: bool) -> list[tuple[frozenset[str], type[ProviderError]]]:
    return [
        (THROTTLED, Throttled),
        (UNAVAILABLE, Unavailable),
        (CREDENTIAL | ROTATED if proven else CREDENTIAL, CredentialError),
        (DENIED, Denied),
        (CONFIG | MISSING | ROTATED, SourceConfigError),
    ]


def _refusals(method: str) -> frozenset[str]:
    """Codes that are about the entries of the request, not about the queue."""
    if method in ("delete_message_batch", "change_message_visibility_batch"):
        return STALE | BATCH
    if method in ("send_message_batch", "publish_batch"):
        return UNSENDABLE | BATCH
    return frozenset()


def _detail(error: Exception, names: set[str], details: dict[str, object], method: str) -> str:
    parts = [hint for name, hint in _HINTS.items() if name in names][:1]
    if names & DENIED:
        parts.append(_line(details.get("Message", "")))
        parts.append(_WAYS_AROUND.get(method, ""))
    facts = getattr(error, "kwargs", {})
    if names & _LINK_ERRORS and facts.get("error"):
        parts.append(_line(_link_error(facts["error"])))
    if "CredentialRetrievalError" in names:
        parts.append(f"from {facts.get('provider')}")
    return "".join(f"; {part}" for part in parts if part)


def _link_error(error: object) -> object:
    """aiohttp's own text shows its internals (``ssl:default``, ``Connect call failed``)."""
    reason = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    if not isinstance(reason, OSError):
        return error
    if isinstance(reason, socket.gaierror | ssl.SSLError) or not reason.errno:
        said = getattr(reason, "verify_message", None) or reason.strerror or reason
    else:
        said = os.strerror(reason.errno)
    return f"no connection to {getattr(error, 'host', '')}:{getattr(error, 'port', '')}: {said}"


def _line(text: object, most: int = 300) -> str:
    """One printable line: it was written by a stranger and goes into a log."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:most])
