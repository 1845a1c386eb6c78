"""What boto3's errors mean to the engine. Their own texts stay behind: only codes and types of them are passed on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError as ConnectionError_, HTTPClientError

from a2a_server.errors import ConfigurationError, EngineError, ObjectMissing, StoreUnavailable

_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_PASSES: Final = frozenset(
    {
        "429",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "OperationAborted",
    }
)
_ELSEWHERE: Final = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
_NETWORK: Final = (HTTPClientError, ConnectionError_)


def code_of(error: ClientError) -> str:
    """The service's word for what went wrong, such as `NoSuchBucket`, or the HTTP status where it says none."""
    answer: dict[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else str(status_of(error))


def status_of(error: ClientError) -> int:
    """The HTTP status of the answer; 0 = none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raises ObjectMissing and StoreUnavailable, which name `place`, instead of boto3's errors."""
    try:
        yield
    except ClientError as error:
        raise _engine_error(place, error) from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"{place} does not answer ({type(error).__name__})") from error


@contextmanager
def starting(place: str) -> Iterator[None]:
    """Raises ConfigurationError for what never can work like this, StoreUnavailable for what may work later."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if status_of(error) >= 500 or code in _PASSES:  # noqa: PLR2004 - the statuses of a server that fails
            raise StoreUnavailable(f"{place} does not answer ({code})") from error
        if code == "NoSuchBucket" or code in _MISSING:
            raise ConfigurationError(f"{place}: no such bucket; create it or set create_missing=true.") from error
        if code in _ELSEWHERE:
            raise ConfigurationError(f"{place}: the bucket is in another region; name it by region=….") from error
        raise ConfigurationError(
            f"{place}: the bucket may not be used ({code}); check the credentials that boto3 finds (environment, "
            "profile, role), their rights to list, read, write and delete there, and the region."
        ) from error
    except _NETWORK as error:
        raise StoreUnavailable(f"{place} cannot be reached ({type(error).__name__})") from error
    except BotoCoreError as error:  # no credentials, half of them, an unknown profile, a name that no bucket has
        raise ConfigurationError(
            f"{place}: boto3 cannot work like this ({type(error).__name__}); give credentials by the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), a profile or a role, and check the bucket's name."
        ) from error


def _engine_error(place: str, error: ClientError) -> EngineError:
    code = code_of(error)
    if code in _MISSING:
        return ObjectMissing(f"{place} has no such object")
    said = "does not answer" if status_of(error) >= 500 else "refuses"  # noqa: PLR2004 - as above
    return StoreUnavailable(f"{place} {said} {error.operation_name} ({code})")
