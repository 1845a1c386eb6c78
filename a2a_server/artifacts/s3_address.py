"""The address of a bucket: `s3://bucket/prefix?region=…&endpoint=…&path_style=…&sse=…&kms_key=…&links=…`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from a2a_server.errors import ConfigurationError
from a2a_server.settings.services import flag, refuse_unknown, shown, taken
from a2a_server.values import value_class

OPTIONS: Final = {
    "region": "",
    "endpoint": "",
    "path_style": "false",
    "sse": "",
    "kms_key": "",
    "links": "true",
}
"""Options with their defaults. region: '' = as boto3 finds it. sse: encryption at rest, '' = as the bucket has it."""

PREFIX_CHARACTERS: Final = 200
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/-]*", re.ASCII)
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{3,255}", re.ASCII)
_ENCRYPTIONS: Final = ("", "AES256", "aws:kms")


@value_class(frozen=True, slots=True)
class S3Address:
    """Where objects live and how they are reached. prefix: '' or ends with a slash. shown: what people may see."""

    bucket: str
    prefix: str
    region: str
    endpoint: str
    path_style: bool
    sse: str
    kms_key: str
    links: bool
    shown: str

    @classmethod
    def of(cls, url: str) -> S3Address:
        """The address that `url` says. Raises ConfigurationError for one that cannot be meant."""
        if "@" in urlsplit(url).netloc:
            raise ConfigurationError(
                f"{shown(url)}: an address has no credentials; boto3 finds them (environment, profile, role)."
            )
        refuse_unknown(url, OPTIONS)
        address, options = taken(url, OPTIONS)
        parts = urlsplit(address)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
            raise ConfigurationError(f"{shown(url)}: an address of objects is s3://bucket or s3://bucket/prefix.")
        if not _PREFIX.fullmatch(prefix) or len(prefix) > PREFIX_CHARACTERS or "//" in prefix or parts.fragment:
            raise ConfigurationError(
                f"{shown(url)}: a prefix has letters, digits and !_.*'()-, in levels divided by one slash, "
                f"and at most {PREFIX_CHARACTERS} characters."
            )
        _check_endpoint(url, options["endpoint"])
        if options["sse"] not in _ENCRYPTIONS:
            raise ConfigurationError(f"{shown(url)}: the option sse is AES256 or aws:kms, not {options['sse']!r}.")
        if options["kms_key"] and options["sse"] != "aws:kms":
            raise ConfigurationError(f"{shown(url)}: the option kms_key needs sse=aws:kms beside it.")
        return cls(
            bucket=parts.netloc,
            prefix=f"{prefix}/" if prefix else "",
            region=options["region"],
            endpoint=options["endpoint"],
            path_style=flag(url, "path_style", options["path_style"]),
            sse=options["sse"],
            kms_key=options["kms_key"],
            links=flag(url, "links", options["links"]),
            shown=shown(url),
        )

    @property
    def encryption(self) -> dict[str, str]:
        """What every new object is asked to be encrypted with."""
        wanted = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in wanted.items() if value}


def _check_endpoint(url: str, endpoint: str) -> None:
    parts = urlsplit(endpoint)
    good = parts.scheme in {"http", "https"} and parts.netloc and "@" not in parts.netloc and not parts.query
    if endpoint and not good:
        raise ConfigurationError(
            f"{shown(url)}: the option endpoint is http://host:port or https://host, without user or query."
        )
