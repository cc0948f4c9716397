"""Clients of AWS's services by botocore, and what their errors mean here. The adapters say which codes may pass."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigurationError, HeadraceError, InfrastructureError

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.exceptions import ClientError

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5
CALL_ATTEMPTS = 3


def client(service: str, config: "Config | None" = None) -> Any:
    """A low-level client, configured as `client_config` says if not otherwise."""
    # botocore without boto3: the same client and credentials, 70-100 ms CPU less at a cold start.
    from botocore.session import get_session

    return get_session().create_client(service, config=config or client_config())


def client_config(attempts: int = CALL_ATTEMPTS, read_timeout_s: int = READ_TIMEOUT_S) -> "Config":
    """Timeouts and retries of a client: with three attempts of five seconds a call ends within some 25 s."""
    from botocore.config import Config

    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


@contextmanager
def errors(what: str, of_answer: "Callable[[ClientError, str], HeadraceError]") -> Iterator[None]:
    """Raise botocore's errors as ours; a retriable one may have done what it was asked to do.

    Args:
        what: the beginning of the message: what cannot be done.
        of_answer: the error that an answer of the service means, with this beginning.
    """
    from botocore import exceptions as aws
    from botocore.parsers import ResponseParserError

    try:
        yield
    except aws.ClientError as error:
        raise of_answer(error, what) from error
    except (
        aws.HTTPClientError,
        aws.ConnectionError,
        aws.IncompleteReadError,
        aws.ChecksumError,
        aws.CredentialRetrievalError,
        aws.MetadataRetrievalError,
        ResponseParserError,
    ) as error:
        raise InfrastructureError(f"{what}: {type(error).__name__}: {error}") from error
    except aws.BotoCoreError as error:
        raise ConfigurationError(f"{what}: {type(error).__name__}: {error}") from error


def code_of(error: "ClientError") -> str:
    """The service's code for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def error_of_answer(error: "ClientError", what: str, passing: Collection[str]) -> HeadraceError:
    """Retriable for a server's error and for the codes that pass, else for a person to look at."""
    message = f"{what}: {code_of(error)}: {error.response.get('Error', {}).get('Message', '')}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code_of(error) in passing or status >= 500:  # noqa: PLR2004 - HTTP's "server error"
        return InfrastructureError(message)
    return ConfigurationError(message)
