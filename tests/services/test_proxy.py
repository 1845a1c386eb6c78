"""Each fault as a client of a real server sees it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.patience import PATIENCE
from tests.services import needed, own, service
from tests.services.fresh import fresh_redis
from tests.services.proxy import CONNECTIONS, Proxy

MIB = 1024 * 1024


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(service("redis")) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        assert ping(client) == b"+PONG\r\n"
        yield client


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)


def first_words(proxy: Proxy) -> bytes:
    with connected(proxy) as client:
        return client.recv(100)


def ping(client: socket.socket) -> bytes:
    client.sendall(b"PING\r\n")
    return client.recv(100)


def rest(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(MIB), b""))


def test_without_a_fault_bytes_pass_whole_and_in_order(proxy: Proxy) -> None:
    body = bytes(range(256)) * 4096 * 8
    with fresh_redis(service("redis")) as prefix, Redis.from_url(proxy.url) as client:
        proxy.latency(0.01)
        client.set(f"{prefix}body", body)
        assert client.get(f"{prefix}body") == body


def test_an_end_of_the_client_reaches_the_server_and_comes_back(client: socket.socket) -> None:
    client.sendall(b"PING\r\n")
    client.shutdown(socket.SHUT_WR)
    assert rest(client) == b"+PONG\r\n"


def test_latency_is_added_in_each_direction(proxy: Proxy, client: socket.socket) -> None:
    proxy.latency(0.5)
    started = time.monotonic()
    ping(client)
    assert time.monotonic() - started >= 1
    proxy.latency(3600)
    proxy.heal()
    assert ping(client) == b"+PONG\r\n"


def test_a_stalled_connection_stays_and_goes_on(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ping(client)
    client.settimeout(PATIENCE)
    assert proxy.connections == 1
    proxy.heal()
    assert client.recv(100) == b"+PONG\r\n"


def test_a_stalled_connection_holds_its_sender_back(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall()
    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.sendall(b"x" * 64 * MIB)


def test_a_connection_is_cut_after_so_many_bytes(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut(10)
    client.sendall(b"ECHO 0123456789\r\n")
    assert rest(client) == b"$10\r\n01234"
    with connected(proxy) as other:
        other.sendall(b"PING\r\nPING\r\n")
        assert rest(other) == b"+PONG\r\n+PO"
    proxy.cut(7)
    with connected(proxy) as other:
        assert ping(other) == b"+PONG\r\n"
        assert rest(other) == b""
    proxy.heal()
    with connected(proxy) as other:
        other.sendall(b"PING\r\nPING\r\nQUIT\r\n")
        assert rest(other) == b"+PONG\r\n+PONG\r\n+OK\r\n"


@pytest.mark.parametrize("stalled", [False, True])
def test_open_connections_are_reset_and_new_ones_served(proxy: Proxy, client: socket.socket, stalled: bool) -> None:
    if stalled:
        proxy.stall()
        client.sendall(b"PING\r\n")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert proxy.connections == 0
    proxy.heal()
    with connected(proxy) as other:
        assert ping(other) == b"+PONG\r\n"


def test_new_connections_are_refused_and_open_ones_go_on(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert ping(client) == b"+PONG\r\n"
    proxy.heal()
    with connected(proxy) as other:
        assert ping(other) == b"+PONG\r\n"


def test_the_end_of_the_server_reaches_the_client_and_its_return_is_found() -> None:
    with needed(), own("redis") as server, Proxy(server.url) as proxy:
        with connected(proxy) as client:
            assert ping(client) == b"+PONG\r\n"
            server.kill()
            assert rest(client) == b""
        with pytest.raises(ConnectionResetError):
            first_words(proxy)
        server.start()
        with connected(proxy) as client:
            assert ping(client) == b"+PONG\r\n"


def test_a_closed_proxy_ends_its_connections_and_its_port() -> None:
    with Proxy(service("redis")) as proxy:
        client = connected(proxy)
        assert ping(client) == b"+PONG\r\n"
    with client, pytest.raises(ConnectionResetError):
        client.recv(100)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)


def test_its_url_is_that_of_the_target_at_another_place() -> None:
    with Proxy("amqp://guest:guest@127.0.0.1:1/vhost?heartbeat=5") as proxy:
        assert proxy.url == f"amqp://guest:guest@127.0.0.1:{proxy.port}/vhost?heartbeat=5"
    with pytest.raises(ValueError, match="names no host and port"):
        Proxy("redis://localhost")


def test_connections_are_bounded(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONNECTIONS == 1000
    monkeypatch.setattr("tests.services.proxy.CONNECTIONS", 1)
    with connected(proxy) as first:
        assert ping(first) == b"+PONG\r\n"
        with pytest.raises(ConnectionResetError):
            first_words(proxy)
