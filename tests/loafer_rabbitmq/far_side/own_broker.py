"""A rabbitmq-server of our own on loopback: node, ports, epmd, users, certificates, files."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import ipaddress
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SCRIPT = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the one in the path, which wants to be another user; this one runs as whoever runs it."""
MISSING = "rabbitmq-server is not installed (apt-get install rabbitmq-server)"
USER, PASSWORD = "loafer", "p@ss/canary%"
PERMISSIONS = {
    "loafer": dict.fromkeys(("configure", "write", "read"), ".*"),
    "reader": {"configure": "^$", "write": "^$", "read": ".*"},
    "stranger": dict.fromkeys(("configure", "write", "read"), "^$"),
}
"""User -> the names that it may touch."""
PROBE = r"""
Loop = fun Loop() -> case io:get_line("") of
    eof -> halt();
    Line -> {ok, Tokens, _} = erl_scan:string(Line), {ok, Asked} = erl_parse:parse_exprs(Tokens),
        {value, Answer, _} = rpc:call('%s', erl_eval, exprs, [Asked, []]), io:format("~0p~n", [Answer]), Loop()
    end end, Loop().
"""
"""An Erlang node beside the broker that has it evaluate a line. rabbitmqctl takes a second for each question."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """One rabbitmq-server with everything of its own: node, ports, epmd, files."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self._node = f"loafer-{uuid.uuid4().hex[:8]}@localhost"
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.authority = make_certificates(folder)
        self._configure()
        self._epmd = subprocess.Popen(["epmd"], env=self._environment, stdout=subprocess.DEVNULL)
        self._server: subprocess.Popen[bytes] | None = None
        self._probe: subprocess.Popen[str] | None = None

    def _configure(self) -> None:
        salt = b"salt"
        digest = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
        users = [
            {"name": user, "password_hash": digest, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}
            for user in PERMISSIONS
        ]
        permissions = [{"user": user, "vhost": "/", **names} for user, names in PERMISSIONS.items()]
        definitions = {"vhosts": [{"name": "/"}], "users": users, "permissions": permissions}
        (self.folder / "definitions.json").write_text(json.dumps(definitions))
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.folder}/broker.pem\n"
            f"ssl_options.keyfile = {self.folder}/broker.pem\n"
            f"load_definitions = {self.folder}/definitions.json\n"
            "log.file.level = warning\n"
            "disk_free_limit.absolute = 1MB\n"
        )

    def start(self) -> None:
        self._server = subprocess.Popen(
            [str(SCRIPT)], env=self._environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self._server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port), 1):
                return
            time.sleep(0.05)
        pytest.fail(f"rabbitmq-server did not start: {[log.read_text() for log in self.folder.glob('log/*.log')]}")

    def kill(self) -> None:
        """As a power cut does it."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        if self._probe is not None:
            self._probe.kill()
            self._probe.communicate()
            self._probe = None

    def stop(self) -> None:
        self.kill()
        self._epmd.terminate()
        self._epmd.wait()

    def url(self, path: str = "", *, port: int | None = None) -> str:
        return f"amqp://127.0.0.1:{port or self.port}/{path}"

    def address(self) -> str:
        """For a client that is not Loafer."""
        return f"amqp://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/"

    def options(self, queue: str, **more: object) -> dict[str, object]:
        """The options of a component."""
        known = {"url": self.url(), "username": USER, "password": PASSWORD, "queue": queue}
        return {**known, **more}

    def ask(self, erlang: str) -> str:
        """Evaluate an expression on the broker."""
        if self._probe is None:
            name, program = f"probe-{uuid.uuid4().hex[:8]}@localhost", PROBE % self._node
            self._probe = subprocess.Popen(
                ["erl", "-noshell", "-hidden", "-sname", name, "-eval", program],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._probe.stdin is not None
        assert self._probe.stdout is not None
        self._probe.stdin.write(f"{erlang}.\n")
        self._probe.stdin.flush()
        return self._probe.stdout.readline().strip()

    def messages(self, queue: str) -> tuple[int, int]:
        """How many are ready, and how many somebody has in hands."""
        ready, unacked = json.loads(
            self.ask(
                f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
                "[N || {_, N} <- rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged])]"
            )
        )
        return ready, unacked

    def connection_names(self) -> list[str]:
        """What the clients call their connections."""
        said = self.ask(
            '[binary_to_list(element(3, lists:keyfind(<<"connection_name">>, 1, P))) || '
            "[{client_properties, P}] <- rabbit_networking:connection_info_all([client_properties]), "
            'lists:keymember(<<"connection_name">>, 1, P)]'
        )
        return sorted(json.loads(said))


def make_certificates(folder: pathlib.Path) -> pathlib.Path:
    """An authority of our own, and what it signed for the broker. Gives the authority's file."""
    now, name = dt.datetime.now(dt.UTC), lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def sign(subject: str, key: Any, issuer: str, by: Any, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        signed = builder.add_extension(extension, critical=False).sign(by, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    plain = serialization.NoEncryption()
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "broker.pem").write_bytes(own + sign("broker", key, "authority", authority, loopback))
    ours = sign("authority", authority, "authority", authority, x509.BasicConstraints(ca=True, path_length=None))
    (folder / "authority.pem").write_bytes(ours)
    return folder / "authority.pem"
