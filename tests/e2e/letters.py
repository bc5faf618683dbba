"""Letters through a mail server that is not ours: aiosmtpd, in the clear on this machine, by STARTTLS with a login, and when it refuses."""

import email
import email.policy
import json
import os
import re
import socket
import ssl
import subprocess
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

GRANARY = os.environ["GRANARY"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mailbox:
    """Keeps what is delivered, and refuses what it is told to."""

    def __init__(self):
        self.messages, self.answers = [], []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 taken"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mail")
    directory.chmod(0o755)

    def call(*arguments, **environment):
        command = [GRANARY, *arguments, "--data-dir", str(directory / "data")]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("msp", "add", "NORTH", "--name", "Nørthern Bäckup")
    return call


@pytest.fixture
def mailbox():
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.url = f"smtp://127.0.0.1:{controller.port}"
    yield box
    controller.stop()


def invite(house, name):
    house("user", "invite", f"{name}@north.example", "--role", "msp_admin", "--name", "Adä Lövelace")


def logged(house, name):
    mails = json.loads(house("mail", "list", "--format", "json"))
    return next(mail for mail in mails if mail["to"] == f"{name}@north.example")


def work(house, done, **environment):
    """Runs the worker until something has happened: what failed comes again after a pause."""
    for _ in range(60):
        house("worker", "--until-idle", **environment)
        if done():
            return
        time.sleep(0.5)
    raise AssertionError("it did not happen")


def test_an_invitation_arrives_whole(house, mailbox):
    invite(house, "ada")
    work(house, lambda: mailbox.messages, GRANARY_MAIL_URL=mailbox.url)
    ((envelope, message),) = mailbox.messages
    assert envelope.rcpt_tos == ["ada@north.example"] and envelope.mail_from == "granary@localhost"
    assert message["Subject"] == "Your login at Nørthern Bäckup"
    assert message["To"].addresses[0].display_name == "Adä Lövelace"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    (link,) = re.findall(r"http://127\.0\.0\.1:8080/password\?token=[0-9a-f]{64}", text)
    assert link in html and not message.defects
    mail = logged(house, "ada")
    assert (mail["state"], mail["attempts"]) == ("sent", 1)
    assert message["Message-ID"] == f"<{mail['id']}@localhost>"
    house("worker", "--until-idle", GRANARY_MAIL_URL=mailbox.url)
    assert len(mailbox.messages) == 1


def test_a_letter_waits_for_a_server_that_is_away_or_busy_and_is_sent_once(house, mailbox):
    invite(house, "bob")
    house("worker", "--until-idle", GRANARY_MAIL_URL="smtp://127.0.0.1:9")
    assert logged(house, "bob")["state"] == "waiting"
    mailbox.answers = ["451 try again"]
    work(house, lambda: mailbox.messages, GRANARY_MAIL_URL=mailbox.url)
    assert len(mailbox.messages) == 1
    assert logged(house, "bob")["state"] == "sent" and logged(house, "bob")["attempts"] >= 3


def test_what_is_refused_for_good_lies_dead(house, mailbox):
    invite(house, "carl")
    mailbox.answers = ["550 no such user"]
    work(house, lambda: not mailbox.answers, GRANARY_MAIL_URL=mailbox.url)
    assert logged(house, "carl")["state"] == "failed"
    dead = json.loads(house("jobs", "list", "--state", "dead", "--format", "json"))
    assert [job["kind"] for job in dead] == ["access.letter"] and "550" in dead[0]["last_error"]
    house("jobs", "retry", dead[0]["id"])
    work(house, lambda: mailbox.messages, GRANARY_MAIL_URL=mailbox.url)
    assert logged(house, "carl")["state"] == "sent"


def test_without_a_server_the_letter_is_kept(house):
    invite(house, "dora")
    house("worker", "--until-idle")
    mail = logged(house, "dora")
    assert mail["state"] == "kept"
    assert "/password?token=" in json.loads(house("mail", "show", mail["id"]))["text"]


def test_by_starttls_with_a_login_and_never_without(house, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )
    certificate.chmod(0o644)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    seen = []

    def authenticate(server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword) and session.ssl is not None
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss word")

    box = Mailbox()
    controller = Controller(
        box, hostname="localhost", port=free_port(), tls_context=context, require_starttls=True,
        authenticator=authenticate, auth_required=True, auth_require_tls=True,
    )
    controller.start()
    try:
        invite(house, "emma")
        url = f"smtp://granary:p%40ss%20word@localhost:{controller.port}?tls=required"
        # Nobody vouches for the certificate.
        house("worker", "--until-idle", GRANARY_MAIL_URL=url)
        assert logged(house, "emma")["state"] == "waiting" and not seen
        work(house, lambda: box.messages, GRANARY_MAIL_URL=url, SSL_CERT_FILE=str(certificate))
        assert seen == [(b"granary", b"p@ss word")]
    finally:
        controller.stop()
