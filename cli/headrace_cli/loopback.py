"""Ports of this machine's loopback address for servers that are started here."""

import random
import socket
from contextlib import suppress

from headrace_cli.errors import CommandError

HOST = "127.0.0.1"

# Below the range from which Linux and macOS give ports to outgoing connections: a client that tries a stopped
# server's port again and again could otherwise be given that very port, and keep it.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many ports, each another, at which nobody listens now.

    Raises:
        CommandError: there are not as many.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise CommandError(f"no {count} free ports from {_PORTS.start} to {_PORTS.stop} on {HOST}")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        # As Java does it: a port whose connections are still in TIME_WAIT after a crash is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
