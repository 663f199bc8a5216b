"""Where certificates come from: nowhere but SNS, over real TLS here, from a server of our own that stands in for it."""

import asyncio
import datetime as dt
import http.server
import json
import socket
import ssl
import threading
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from loafer_core import Ack, Message, TranslationError, Unavailable
from loafer_json import SNSSignature, SNSSignatureOptions
from loafer_json.certificates import Certificates

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
CHINA = "arn:aws-cn:sns:cn-north-1:123456789012:orders"
HOST = "sns.us-east-1.amazonaws.com"
PATH = "/SimpleNotificationService-0123456789abcdef.pem"
GOOD = f"https://{HOST}{PATH}"
BAD = [
    "",
    "https://",
    f"http://{HOST}{PATH}",
    f"HTTPS://{HOST}{PATH}",
    f"ftp://{HOST}{PATH}",
    "file:///etc/ssl/SimpleNotificationService-0.pem",
    f"//{HOST}{PATH}",
    f" {GOOD}",
    f"{GOOD} ",
    f"{GOOD}\n",
    f"https://{HOST}\t{PATH}",
    f"https://s3.amazonaws.com/sns{PATH}",
    f"https://sns.s3.amazonaws.com{PATH}",
    f"https://sns.s3-us-west-2.amazonaws.com{PATH}",
    f"https://sns.s3-website-us-east-1.amazonaws.com{PATH}",
    f"https://sns.s3.us-east-1.amazonaws.com{PATH}",
    f"https://sns-us-east-1.s3.amazonaws.com{PATH}",
    f"https://{HOST}.evil.tld{PATH}",
    f"https://{HOST}.cn.evil.tld{PATH}",
    f"https://evil.tld/{HOST}{PATH}",
    f"https://evil.tld?{GOOD}",
    f"https://evil.tld#{GOOD}",
    f"https://evil.tld\\@{HOST}{PATH}",
    f"https://user@{HOST}{PATH}",
    f"https://user:password@{HOST}{PATH}",
    f"https://{HOST}@evil.tld{PATH}",
    f"https://{HOST}:443{PATH}",
    f"https://{HOST}:8443{PATH}",
    f"https://{HOST}.{PATH}",
    f"https://xsns.us-east-1.amazonaws.com{PATH}",
    f"https://sns.us-east-1xamazonaws.com{PATH}",
    f"https://sns.us-east-1.amazonaws.com.com{PATH}",
    f"https://sns.amazonaws.com{PATH}",
    f"https://sns..amazonaws.com{PATH}",
    f"https://sns.us-east-1.amazonaws.com.cn.{PATH}",
    f"https://SNS.us-east-1.amazonaws.com{PATH}",
    f"https://sns.us-eаst-1.amazonaws.com{PATH}",  # noqa: RUF001 - a Cyrillic letter
    f"https://sns.us-east-1。amazonaws.com{PATH}",
    f"https://sns.us-east-１.amazonaws.com{PATH}",  # noqa: RUF001 - a full-width digit
    f"https://xn--sns-0na.us-east-1.amazonaws.com{PATH}",
    f"https://sns.us-west-2.amazonaws.com{PATH}",  # SNS, but not in the topic's region
    f"https://127.0.0.1{PATH}",
    f"https://169.254.169.254{PATH}",
    f"https://[::1]{PATH}",
    f"{GOOD}?x=1",
    f"{GOOD}#x",
    f"{GOOD}/",
    f"https://{HOST}/?Action=ConfirmSubscription&x={PATH}",
    f"https://{HOST}/x{PATH}",
    f"https://{HOST}//{PATH}",
    f"https://{HOST}/../x{PATH}",
    f"https://{HOST}/SimpleNotificationService-..%2f.pem",
    f"https://{HOST}/SimpleNotificationService-.pem",
    f"https://{HOST}/SimpleNotificationService-0.pem.exe",
    f"https://{HOST}/SimpleNotificationService-0%00.pem",
    f"https://{HOST}/SimpleNotificationService-ä.pem",
    f"https://{HOST}/OtherService-0.pem",
    5,
    None,
    [GOOD],
]


async def handle(body, topics=(TOPIC,), middleware=None):
    """Pass a body through the middleware without any certificate of its own."""
    own = middleware or SNSSignature(SNSSignatureOptions(topics=list(topics)))
    if middleware is None:
        own.open(SimpleNamespace(route="orders"))

    async def call_next(message):
        assert message.metadata["sns_verified"] is True
        return Ack()

    try:
        return await own.handle(Message("m-1", json.dumps(body)), call_next)
    finally:
        if middleware is None:
            await own.close()


@pytest.mark.parametrize("url", BAD)
async def test_a_url_that_is_not_snss_is_refused_and_nobody_is_asked(enveloped, signer, url, no_network):
    envelope = signer.signed(enveloped("1")) | {"SigningCertURL": url}
    with pytest.raises(TranslationError) as caught:
        await handle(envelope)
    assert str(caught.value).endswith(f"of {TOPIC}: its SigningCertURL is not one of SNS in the topic's region")


async def test_a_url_is_not_even_looked_at_for_a_topic_that_is_not_trusted(enveloped, no_network):
    with pytest.raises(TranslationError, match="not one of those that are trusted"):
        await handle(enveloped("1"), topics=[CHINA])


class Stage:
    """A server on loopback that has the name and, to whom trusts our own authority, the certificate of SNS."""

    def __init__(self, port):
        self.port = port
        self.requests, self.connections = [], []
        self.answers, self.protocol = {}, "HTTP/1.1"
        self.arrived, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()

        self.parts = lambda body: [body]

    def answer(self, body, status=200, path=PATH, **headers):
        self.answers[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority of our own, and a server's key and certificate by it: two PEM files."""
    folder, now, day = tmp_path_factory.mktemp("tls"), dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
    unused = "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"
    usage = dict.fromkeys([*unused, "decipher_only"], False)

    def certificate(subject, public_key, is_ca, *extensions):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - day)
        builder = builder.not_valid_after(now + day)
        ca = x509.BasicConstraints(ca=is_ca, path_length=None)
        key_usage = x509.KeyUsage(digital_signature=True, key_cert_sign=is_ca, crl_sign=is_ca, **usage)
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        own_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        for extension, critical in (ca, True), (key_usage, True), (key_id, False), (own_id, False), *extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.DNSName("sns.cn-north-1.amazonaws.com.cn")])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    for_servers = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    (folder / "ca.pem").write_bytes(certificate(ca_name, ca_key.public_key(), True))
    (folder / "server.pem").write_bytes(
        certificate(server, key.public_key(), False, (names, False), (for_servers, False))
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder


@pytest.fixture
def sns(authority, monkeypatch):
    """SNS as far as HTTPS goes. Every connection is led there, and remembered by where it was meant to go."""

    class Handler(http.server.BaseHTTPRequestHandler):
        @property
        def protocol_version(self):
            return stage.protocol

        def do_GET(self):
            stage.requests.append((self.headers["Host"], self.path))
            stage.arrived.release()
            stage.gate.wait(30)
            status, headers, body = stage.answers.get(self.path, (404, {}, b"no such key"))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            for part in stage.parts(body):
                self.wfile.write(part)

        def log_message(self, *args): ...

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """A client that hangs up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "server.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    stage = Stage(server.server_port)
    connect = socket.create_connection

    def create_connection(address, *args, **kwargs):
        stage.connections.append(address)
        return connect(("127.0.0.1", stage.port), *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", create_connection)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield stage
    stage.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def certificates():
    made = Certificates()
    yield made
    await made.close()


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/1.0"])
async def test_a_certificate_is_fetched_from_sns_and_verifies(sns, enveloped, signer, protocol):
    sns.protocol = protocol
    sns.answer(signer.certificate())
    assert await handle(signer.signed(enveloped("1"), "2")) == Ack()
    assert sns.requests == [(HOST, PATH)]
    assert sns.connections == [(HOST, 443)]


async def test_a_topic_in_china_has_its_certificates_there(sns, enveloped, signer):
    sns.answer(signer.certificate())
    url = f"https://sns.cn-north-1.amazonaws.com.cn{PATH}"
    envelope = signer.signed(enveloped("1", TopicArn=CHINA, SigningCertURL=url))
    assert await handle(envelope, topics=[CHINA]) == Ack()
    assert sns.connections == [("sns.cn-north-1.amazonaws.com.cn", 443)]


async def test_a_fetched_certificate_that_signed_something_else_is_of_no_use(sns, enveloped, signer):
    sns.answer(signer.certificate())
    with pytest.raises(TranslationError, match="does not fit"):
        await handle(enveloped("1"))


async def test_a_certificate_is_fetched_once_for_all_messages(sns, enveloped, signer):
    sns.answer(signer.certificate())
    middleware = SNSSignature(SNSSignatureOptions(topics=[TOPIC]))
    middleware.open(SimpleNamespace(route="orders"))
    for number in range(3):
        await handle(signer.signed(enveloped(str(number))), middleware=middleware)
    await middleware.close()
    assert len(sns.requests) == 1


async def test_who_asks_while_it_is_fetched_waits_for_that_fetch(sns, certificates, signer):
    sns.answer(signer.certificate())
    sns.gate.clear()
    asking = [asyncio.create_task(certificates.get(GOOD)) for _ in range(10)]
    await asyncio.to_thread(sns.arrived.acquire)
    asking[0].cancel()
    sns.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert len({id(answer) for answer in answers[1:]}) == 1
    assert len(sns.requests) == 1


async def test_the_sixteen_certificates_that_were_used_last_are_kept(sns, certificates, signer):
    urls = [f"https://{HOST}/SimpleNotificationService-{number}.pem" for number in range(17)]
    for url in urls:
        sns.answer(signer.certificate(), path=url.removeprefix(f"https://{HOST}"))

    for url in urls[:16]:
        await certificates.get(url)
    await certificates.get(urls[0])  # so that the second is the one that was not used for longest
    await certificates.get(urls[16])
    assert len(sns.requests) == 17
    await certificates.get(urls[0])
    assert len(sns.requests) == 17
    await certificates.get(urls[1])
    assert len(sns.requests) == 18


async def test_a_redirect_is_not_followed(sns, certificates):
    for status in 301, 302, 303, 307, 308:
        sns.answer(b"", status, Location="https://evil.tld/x.pem")
        with pytest.raises(TranslationError, match=rf"no certificate at the SigningCertURL: the answer is {status}$"):
            await certificates.get(GOOD)
    assert sns.connections == [(HOST, 443)] * 5


@pytest.mark.parametrize("status", [400, 403, 404, 204])
async def test_an_answer_that_is_no_certificate_is_the_messages_fault(sns, certificates, status):
    sns.answer(b"", status)
    with pytest.raises(TranslationError, match=f"the answer is {status}$"):
        await certificates.get(GOOD)


@pytest.mark.parametrize("body", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
async def test_a_text_that_is_no_certificate_is_the_messages_fault(sns, certificates, body):
    sns.answer(body)
    with pytest.raises(TranslationError, match=r"is no certificate$"):
        await certificates.get(GOOD)


async def test_64_kib_are_read_and_no_more(sns, certificates, signer):
    sns.answer(signer.certificate().ljust(64 * 1024, b"\n"))
    assert await certificates.get(GOOD)
    sns.answer(signer.certificate().ljust(64 * 1024 + 1, b"\n"), path="/SimpleNotificationService-1.pem")
    with pytest.raises(TranslationError, match="more than 65536 bytes"):
        await certificates.get(f"https://{HOST}/SimpleNotificationService-1.pem")


async def test_of_an_answer_without_end_no_more_is_read(sns, certificates):
    sns.answer(b"x" * 100_000, Content_Length=str(10**9))
    with pytest.raises(TranslationError, match="more than 65536 bytes"):
        await certificates.get(GOOD)


async def test_an_answer_that_breaks_off_is_the_networks_fault(sns, certificates, signer):
    sns.protocol = "HTTP/1.0"
    sns.answer(signer.certificate()[:-50], Content_Length=str(len(signer.certificate())))
    with pytest.raises(Unavailable, match=r"cannot be fetched: ConnectionError$"):
        await certificates.get(GOOD)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_is_unavailable_and_asked_again_next_time(sns, certificates, signer, status):
    sns.answer(b"", status)
    with pytest.raises(Unavailable, match=f"cannot be fetched: the answer is {status}$"):
        await certificates.get(GOOD)
    sns.answer(signer.certificate())
    assert await certificates.get(GOOD)


async def test_a_server_out_of_reach_is_unavailable(certificates, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionRefusedError("[Errno 111] Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(Unavailable, match=r"^SNS's signing certificate cannot be fetched: ConnectionRefusedError$"):
        await certificates.get(GOOD)


async def test_a_server_that_cannot_prove_to_be_sns_is_unavailable(sns, certificates, monkeypatch):
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):  # the name is not in its certificate
        await certificates.get(f"https://sns.eu-west-1.amazonaws.com{PATH}")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):  # nobody trusts its authority
        await certificates.get(GOOD)
    assert sns.requests == []


async def test_a_server_that_is_silent_is_unavailable_after_the_timeout(sns):
    sns.gate.clear()
    certificates = Certificates(timeout=0.2)
    with pytest.raises(Unavailable, match="TimeoutError"):
        await certificates.get(GOOD)
    sns.gate.set()
    await certificates.close()


async def test_a_server_that_answers_by_drips_is_unavailable_after_the_timeout(sns):
    def drip(body):
        for byte in body:
            yield bytes([byte])
            enough.wait(0.02)

    enough = threading.Event()
    sns.parts = drip
    sns.answer(b"x" * 100)
    certificates = Certificates(timeout=0.3)
    with pytest.raises(Unavailable, match="TimeoutError"):
        await certificates.get(GOOD)
    enough.set()
    await certificates.close()


async def test_a_stop_does_not_wait_for_a_fetch(sns):
    sns.gate.clear()
    certificates = Certificates(timeout=30)
    asking = asyncio.create_task(certificates.get(GOOD))
    await asyncio.to_thread(sns.arrived.acquire)
    await certificates.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    sns.gate.set()
