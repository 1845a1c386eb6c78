"""Every error that crosses a boundary, and the one table of the codes that clients see.

Three families: `ClientError` is told to whoever sent the request; `EngineError` passes between the house's own parts;
`Reject`, `Fail` and `Retry` are raised by agents to end a run. Texts of client errors name the thing, the rule and the
way out; nothing internal (exception texts, paths, SQL) ever goes into them.
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """An answer other than success. `path` is the field at fault for invalid parameters.

    Source: A2A 1.0.1 section 5.4 and JSON-RPC 2.0 section 5.1; -32050 and below are this server's own.
    """

    code: ClassVar[int] = -32603
    reason: ClassVar[str] = "INTERNAL_ERROR"
    default: ClassVar[str] = "Internal error"

    def __init__(self, message: str = "", *, path: str = "", retry_after_seconds: int = 0, error_id: str = "") -> None:
        self.message = message or self.default
        self.path = path
        self.retry_after_seconds = retry_after_seconds
        self.error_id = error_id
        super().__init__(self.message)


class ParseError(ClientError):
    """The body is not JSON as this server accepts it."""

    code, reason, default = -32700, "PARSE_ERROR", "Invalid JSON payload"


class InvalidRequest(ClientError):
    """JSON, but no JSON-RPC 2.0 request."""

    code, reason, default = -32600, "INVALID_REQUEST", "Request payload validation error"


class MethodNotFound(ClientError):
    """No generation has this method."""

    code, reason, default = -32601, "METHOD_NOT_FOUND", "Method not found"


class InvalidParams(ClientError):
    """A parameter is missing or breaks its rule; `path` names it."""

    code, reason, default = -32602, "INVALID_PARAMS", "Invalid parameters"


class InternalError(ClientError):
    """A bug; `error_id` finds its cause in the log."""

    code, reason, default = -32603, "INTERNAL_ERROR", "Internal error"


class TaskNotFound(ClientError):
    """No such task for this caller; missing and foreign look the same."""

    code, reason, default = -32001, "TASK_NOT_FOUND", "Task not found"


class TaskNotCancelable(ClientError):
    """The task has ended."""

    code, reason, default = -32002, "TASK_NOT_CANCELABLE", "Task cannot be canceled"


class PushNotSupported(ClientError):
    """The card declares no push notifications."""

    code, reason, default = -32003, "PUSH_NOTIFICATION_NOT_SUPPORTED", "Push Notification is not supported"


class UnsupportedOperation(ClientError):
    """The task or the agent does not take this operation now."""

    code, reason, default = -32004, "UNSUPPORTED_OPERATION", "This operation is not supported"


class ContentTypeNotSupported(ClientError):
    """A media type or encoding that is not taken."""

    code, reason, default = -32005, "CONTENT_TYPE_NOT_SUPPORTED", "Incompatible content types"


class ExtendedCardNotConfigured(ClientError):
    """There is no card for authenticated callers."""

    code, reason, default = -32007, "EXTENDED_AGENT_CARD_NOT_CONFIGURED", "This agent has no extended card"


class VersionNotSupported(ClientError):
    """`A2A-Version` names a version that is not served, or one that does not have the method."""

    code, reason, default = -32009, "VERSION_NOT_SUPPORTED", "This protocol version is not supported"


class Overloaded(ClientError):
    """Full for now; try again after `retry_after_seconds`."""

    code, reason, default = -32050, "RESOURCE_EXHAUSTED", "The server is busy; try again later"


class NothingThere(ClientError):
    """No such thing (a batch, a schedule, a queue …) for this caller; missing and foreign look the same."""

    code, reason, default = -32053, "NOT_FOUND", "There is no such thing, or it is not yours"


class Changed(ClientError):
    """The thing is not at the revision that the caller names."""

    code, reason, default = -32054, "REVISION_MISMATCH", "It was changed meanwhile; read it again"


class EngineError(Exception):
    """An error between the house's own parts; never shown to clients as it is."""


class StoreUnavailable(EngineError):
    """The store did not answer; whether a commit happened may be unknown."""


class SchemaMismatch(EngineError):
    """The store's schema is not the one that this version works with."""


class Conflict(EngineError):
    """Another writer changed a row of this turn; load and decide again."""


class DataRejected(EngineError):
    """The store refused a value; the turn wrote nothing."""


class ObjectMissing(EngineError):
    """The artifact store has no such object."""


class TooLarge(EngineError):
    """A value is larger than its limit."""


class Damaged(EngineError):
    """A copy or a backup is not what it was made from; the text says where they differ, and what to do."""


class LeaseLost(EngineError):
    """The attempt no longer holds its task; nothing it writes counts any more."""


class NotOpened(EngineError):
    """The agent did not get ready to run; the text is for who serves it."""


class Draining(EngineError):
    """The process is about to stop and takes no new work."""


class ConfigurationError(Exception):
    """A setting, card or agent that cannot work; the text says what to change."""


class ServiceUnreachable(ConfigurationError):
    """A service that a setting names does not answer."""


class Reject(Exception):
    """Raised by an agent: the task ends REJECTED with this text, which clients see."""

    text: str = "The agent rejected the task."  # of subclasses with a constructor of their own, too

    def __init__(self, text: str = text) -> None:
        self.text = text
        super().__init__(text)


class Fail(Exception):
    """Raised by an agent: the task ends FAILED at once with this text, which clients see."""

    text: str = "The agent failed."  # of subclasses with a constructor of their own, too

    def __init__(self, text: str = text) -> None:
        self.text = text
        super().__init__(text)


class Retry(Exception):
    """Raised by an agent: a transient failure; the task runs again, after `after_seconds` or by the back-off."""

    text: str = "A transient failure."  # of subclasses with a constructor of their own, too
    after_seconds: float | None = None

    def __init__(self, text: str = text, *, after_seconds: float | None = None) -> None:
        self.text = text
        self.after_seconds = None if after_seconds is None else float(after_seconds)
        super().__init__(text)


class Paused(BaseException):
    """Raised in a handler that asked: it runs again, from its beginning, when the answer is there.

    Let it pass; `finally` blocks run. A handler that swallows it fails.
    """
