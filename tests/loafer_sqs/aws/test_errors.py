"""What went wrong, in Loafer's words: every code that SQS, SNS and boto are known to give."""

from __future__ import annotations

import botocore.exceptions as boto
import pytest
from botocore.exceptions import ClientError

from loafer_core import CredentialError, ProviderError, SourceConfigError, Throttled, Unavailable
from loafer_sqs.aws.errors import Denied, Refused, classify, failed_entry

THROTTLED = """RequestThrottled OverLimit KmsThrottled KMS.ThrottlingException Throttling ThrottlingException
ThrottledException RequestThrottledException TooManyRequestsException RequestLimitExceeded SlowDown
BandwidthLimitExceeded Throttled KMSThrottling KMSThrottlingException"""
UNAVAILABLE = """InternalError InternalFailure ServiceUnavailable RequestTimeout RequestTimeoutException
InternalErrorException SomethingNobodyHeardOf"""
CREDENTIAL = """ExpiredToken ExpiredTokenException RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch
InvalidClientTokenId UnrecognizedClientException"""
CONFIG = """QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue InvalidAddress AccessDenied AccessDeniedException
MissingAuthenticationToken OptInRequired InvalidSecurity UnsupportedOperation InvalidAttributeName
InvalidAttributeValue InvalidParameterValue InvalidParameterCombination MissingParameter ValidationError
MalformedQueryString KMS.AccessDeniedException KMS.NotFoundException KMS.DisabledException KMS.InvalidStateException
KMS.InvalidKeyUsageException KMS.OptInRequired KmsAccessDenied KmsNotFound KmsDisabled KmsInvalidState
KmsInvalidKeyUsage KmsOptInRequired InvalidAction NotFound NotFoundException AuthorizationError
AuthorizationErrorException InvalidParameter InvalidParameterException ParameterValueInvalid
InvalidParameterValueException ValidationException InvalidSecurityException EndpointDisabled EndpointDisabledException
PlatformApplicationDisabled PlatformApplicationDisabledException KMSAccessDenied KMSAccessDeniedException KMSNotFound
KMSNotFoundException KMSDisabled KMSDisabledException KMSInvalidState KMSInvalidStateException KMSOptInRequired"""
STALE = "ReceiptHandleIsInvalid MessageNotInflight AWS.SimpleQueueService.MessageNotInflight InvalidIdFormat"
BATCH = "TooManyEntriesInBatchRequest EmptyBatchRequest BatchEntryIdsNotDistinct InvalidBatchEntryId"


def answered(code: str, status: int = 400, message: str = "") -> ClientError:
    """What boto raises for an answer with ``code``."""
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "ReceiveMessage")


def _cases() -> list[tuple[str, type[ProviderError]]]:
    table = [
        (THROTTLED, Throttled),
        (UNAVAILABLE, Unavailable),
        (CREDENTIAL, CredentialError),
        (CONFIG, SourceConfigError),
    ]
    return [(code, kind) for codes, kind in table for code in codes.split()]


@pytest.mark.parametrize("prefix", ["", "AWS.SimpleQueueService.", "com.amazonaws.sqs#"])
@pytest.mark.parametrize(("code", "kind"), _cases())
def test_an_answer_is_classified_by_the_last_part_of_its_code_whatever_the_status(code, kind, prefix):
    for status in (400, 403, 404):
        assert isinstance(classify(answered(prefix + code, status), "here", "receive_message"), kind)


@pytest.mark.parametrize("code", (STALE + " InvalidParameterValue").split())
@pytest.mark.parametrize("method", ["delete_message_batch", "change_message_visibility_batch"])
def test_a_stale_receipt_is_about_the_delivery_and_not_about_the_queue(code, method):
    error = classify(answered(code), "here", method)

    assert isinstance(error, Refused)
    assert error.code == code.rsplit(".", 1)[-1]


@pytest.mark.parametrize("code", [*BATCH.split(), "BatchRequestTooLong"])
@pytest.mark.parametrize(
    "method", ["delete_message_batch", "change_message_visibility_batch", "send_message_batch", "publish_batch"]
)
def test_a_batch_that_was_wrong_is_refused_as_a_batch(code, method):
    assert isinstance(classify(answered(code), "here", method), Refused)


@pytest.mark.parametrize(
    "code", ["InvalidMessageContents", "InvalidParameterValue", "InvalidParameter", "ParameterValueInvalid"]
)
@pytest.mark.parametrize("method", ["send_message_batch", "publish_batch"])
def test_a_message_that_cannot_be_sent_is_not_the_targets_fault(code, method):
    assert isinstance(classify(answered(code), "here", method), Refused)
    assert isinstance(failed_entry(code, "here", method), Refused)


@pytest.mark.parametrize(
    ("code", "kind"), [("InternalError", Unavailable), ("Throttled", Throttled), ("KMSDisabled", SourceConfigError)]
)
def test_a_failed_entry_is_classified_as_a_failed_call_is(code, kind):
    assert isinstance(failed_entry(f"AWS.Simple.{code}", "here", "publish_batch"), kind)


def test_a_missing_topic_is_said_with_the_way_out():
    assert "correct topic, region_name or endpoint_url" in str(classify(answered("NotFound", 404), "here"))


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Throttled), (509, Throttled), (500, Unavailable), (502, Unavailable), (404, Unavailable)]
)
def test_the_status_decides_only_where_the_code_says_nothing(status, kind):
    assert type(classify(answered(str(status), status), "here")) is kind


def test_a_known_code_wins_over_a_status_that_says_something_else():
    assert isinstance(classify(answered("SlowDown", 503), "here"), Throttled)
    assert isinstance(classify(answered("RequestThrottled", 403), "here"), Throttled)


def test_the_query_code_counts_as_much_as_the_class():
    response = {"Error": {"Code": "Odd", "QueryErrorCode": "QueueDoesNotExist"}, "ResponseMetadata": {}}

    assert isinstance(classify(ClientError(response, "GetQueueUrl"), "here"), SourceConfigError)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidClientTokenId", "UnrecognizedClientException"])
def test_a_key_that_never_worked_is_a_mistake_and_one_that_did_was_rotated(code):
    assert isinstance(classify(answered(code), "here", proven=False), SourceConfigError)
    assert isinstance(classify(answered(code), "here", proven=True), CredentialError)


@pytest.mark.parametrize("code", ["AccessDenied", "KMS.AccessDeniedException"])
def test_a_denial_says_what_was_denied(code):
    error = classify(answered(code, 403, "not authorized to perform: sqs:ReceiveMessage\non x"), "here")

    assert isinstance(error, Denied)
    assert "not authorized to perform: sqs:ReceiveMessage on x" in str(error)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "ReceiptHandleIsInvalid", "InvalidMessageContents", "Odd"])
def test_what_a_server_writes_beside_other_codes_is_not_repeated(code):
    error = classify(answered(code, 400, "canary-receipt"), "here", "delete_message_batch")

    assert "canary-receipt" not in str(error)


def test_a_code_that_forges_log_lines_becomes_one_short_line():
    text = str(classify(answered("x\nERROR you were hacked\x1b[31m" + "y" * 5000), "here"))

    assert text.isprintable()
    assert len(text) < 200


URL = "http://127.0.0.1:1/"
RAISED = [
    (boto.EndpointConnectionError(endpoint_url=URL), Unavailable),
    (boto.ConnectionClosedError(endpoint_url=URL), Unavailable),
    (boto.ReadTimeoutError(endpoint_url=URL), Unavailable),
    (boto.ConnectTimeoutError(endpoint_url=URL), Unavailable),
    (boto.ProxyConnectionError(proxy_url=URL), Unavailable),
    (boto.HTTPClientError(error=ValueError("canary")), Unavailable),
    (OSError("canary"), Unavailable),
    (TimeoutError(), Unavailable),
    (UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary"), Unavailable),
    (RuntimeError("canary"), Unavailable),
    (boto.NoCredentialsError(), CredentialError),
    (boto.CredentialRetrievalError(provider="custom-process", error_msg="canary"), CredentialError),
    (boto.MetadataRetrievalError(error_msg="canary"), CredentialError),
    (boto.TokenRetrievalError(provider="sso", error_msg="canary"), CredentialError),
    (boto.UnauthorizedSSOTokenError(), CredentialError),
    (boto.SSOTokenLoadError(error_msg="canary"), CredentialError),
    (boto.NoRegionError(), SourceConfigError),
    (boto.InvalidRegionError(region_name="x y"), SourceConfigError),
    (boto.ProfileNotFound(profile="nope"), SourceConfigError),
    (boto.PartialCredentialsError(provider="env", cred_var="secret"), SourceConfigError),
    (boto.ParamValidationError(report="canary"), SourceConfigError),
    (boto.SSLError(endpoint_url=URL, error="certificate verify failed"), SourceConfigError),
]


@pytest.mark.parametrize(("raised", "kind"), RAISED, ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_what_boto_raises_is_classified_and_its_text_kept_to_itself(raised, kind):
    error = classify(raised, "ReceiveMessage on queue 'orders'", "receive_message")

    assert isinstance(error, kind)
    assert str(error).startswith(f"ReceiveMessage on queue 'orders': {type(raised).__name__}")
    assert "canary" not in str(error)
