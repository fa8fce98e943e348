"""`thawfs emulate` as a process: how it starts, stops, refuses, and bears clients that vanish."""

import os
import pathlib
import signal
import socket
import subprocess

import alibabacloud_oss_v2 as oss
import pytest

from clients import oss2_bucket, oss_v2_client
from support.emulator import Emulator, thawfs_binary
from support.waiting import wait_until

SECONDS = 20


def run(*arguments):
    return subprocess.run(
        [thawfs_binary(), "emulate", *arguments], capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_and_stops_when_told(number):
    process = subprocess.Popen(
        [thawfs_binary(), "emulate", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = process.stdout.readline()
        assert line.startswith(b"listening on http://127.0.0.1:")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, rest, errors) == (0, b"", b"")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(SECONDS)


def test_it_stops_with_connections_open(emulator):
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=SECONDS) as idle:
        idle.sendall(b"GET /bkt/k HTTP/1.1\r\nHost: x\r\n")
        assert emulator.stop() == 0


def test_a_port_in_use_is_said(emulator):
    ended = run("--listen", f"127.0.0.1:{emulator.port}")
    assert ended.returncode != 0
    assert f"cannot listen on 127.0.0.1:{emulator.port}" in ended.stderr


@pytest.mark.parametrize("arguments, complaint", [
    (["--listen", "nowhere"], "HOST:PORT"), (["--access-key", "k"], "pairs"), (["--tls-cert", "f"], "together"),
    (["--time-scale=-1"], "negative"), (["--data", "/dev/null/x"], "cannot create /dev/null/x"),
    (["--listen", "127.0.0.1:0", "--tls-cert", "/dev/null", "--tls-key", "/dev/null"], "/dev/null"),
])
def test_unusable_options_are_said(arguments, complaint):
    ended = run(*arguments)
    assert ended.returncode != 0
    assert complaint in ended.stderr


def test_several_credentials():
    keys = ["--access-key", "one", "--secret-key", "1", "--access-key", "two", "--secret-key", "2"]
    with Emulator(buckets=["bkt"], arguments=keys) as running:
        oss2_bucket(running, key="one", secret="1").put_object("k", b"content")
        assert oss2_bucket(running, key="two", secret="2").get_object("k").read() == b"content"


def test_a_head_carries_the_reason_in_a_header(emulator):
    with pytest.raises(oss.exceptions.OperationError) as caught:
        oss_v2_client(emulator).head_object(oss.HeadObjectRequest(bucket="bkt", key="none"))
    error = caught.value.unwrap()
    assert (error.status_code, error.code, error.ec) == (404, "NoSuchKey", "0026-00000001")


def open_bodies(pid):
    """The bodies that a process has open."""
    paths = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            paths.append(os.readlink(entry))
        except FileNotFoundError:
            pass  # Closed while we looked.
    return [path for path in paths if "/bodies/" in path]


def test_clients_that_vanish_leave_nothing_behind(tmp_path):
    data = tmp_path / "data"
    with Emulator(data=data, buckets=["bkt"], arguments=["--lenient"]) as running:
        oss2_bucket(running).put_object("k", os.urandom(8 << 20))
        bodies = len(list((data / "bodies").iterdir()))
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS) as reader:
                reader.sendall(b"GET /bkt/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert reader.recv(1000)
            with socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS) as writer:
                writer.sendall(b"PUT /bkt/n HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nabc")
        wait_until(lambda: len(list((data / "bodies").iterdir())) == bodies, "the bodies to be removed", 20)
        wait_until(lambda: not open_bodies(running.process.pid), "the bodies to be closed", 20)
        assert len(oss2_bucket(running).get_object("k").read()) == 8 << 20


def test_a_refused_upload_is_not_waited_for(emulator):
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=SECONDS) as writer:
        writer.sendall(
            b"PUT /bkt/n HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
        reply = writer.recv(100_000)
        assert reply.startswith(b"HTTP/1.1 403 ")
        while reply and b"AccessDenied" not in reply:
            reply = writer.recv(100_000)
        assert b"AccessDenied" in reply
