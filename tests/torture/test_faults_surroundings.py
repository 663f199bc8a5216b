"""What is around the queue goes wrong: network, certificate, credentials, the queue itself, the clock."""

from __future__ import annotations

import re

from torture.certificate import self_signed
from torture.fake_faults import Status
from torture.fake_sqs import FakeSQS
from torture.process import Workshop, eventually

DELETE, CHANGE = "DeleteMessageBatch", "ChangeMessageVisibilityBatch"


def credentials(workshop, key):
    text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
    (workshop.folder / "credentials").write_text(text)
    workshop.environment |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


async def test_t44_a_server_that_refuses_connections_is_waited_for_at_start_and_later(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    workshop.route("orders")
    fake.close()
    process = await workshop.launch()
    await process.says("cannot open its source")
    await fake.listen()
    first = fake.send("orders", {})
    await workshop.emptied("orders")

    fake.close()
    await process.says("receive failed")
    second = fake.send("orders", {})
    await fake.listen()
    await workshop.emptied("orders")

    assert await process.stop_early() == 0
    assert workshop.check(first + second, lease=60).duplicated.total() == 0


async def test_t44_a_name_that_does_not_resolve_is_waited_for_and_a_signal_ends_the_wait(fake, workshop):
    workshop.defaults["endpoint_url"] = "http://sqs.invalid:4566"
    workshop.route("orders")
    process = await workshop.launch()
    await process.says("cannot open its source")

    assert await process.stop() == 0


async def test_t44_a_certificate_that_cannot_be_trusted_ends_the_start_with_a_reason(tmp_path):
    async with FakeSQS(tls=self_signed(tmp_path)) as fake, Workshop(tmp_path, fake) as workshop:
        fake.create("orders")
        workshop.route("orders")
        process = await workshop.launch()

        assert await process.exit_code() == 78
        assert "AWS_CA_BUNDLE" in process.log
        assert "Traceback" not in process.log
        assert fake.log == []  # nothing was said to a stranger


async def test_t47_expired_credentials_are_read_anew_and_the_acks_of_that_time_are_made_up_for(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    credentials(workshop, "old")
    ids = fake.send("orders", {"until": "told"})
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    fake.fault("*", Status("ExpiredToken", 403), who="old", count=10_000)
    fake.end_polls()
    await process.says("CredentialError.*ExpiredToken")
    workshop.release("told")
    await eventually(lambda: fake.asked(DELETE))
    credentials(workshop, "new")
    ids += fake.send("orders", {})
    await workshop.emptied("orders")

    assert await process.stop_early() == 0
    report = workshop.check(ids, lease=60)
    assert (report.handled, report.duplicated.total()) == (2, 0)
    assert {entry.who for entry in fake.asked(DELETE) if entry.status == 200} == {"new"}
    assert "receiving again" in process.log


async def test_t48_a_queue_that_is_deleted_or_denied_stops_its_own_route_until_it_is_back(fake, workshop):
    for queue in ("orders", "secret", "others"):
        fake.create(queue, VisibilityTimeout="60")
        workshop.route(queue)
    process = await workshop.start()
    await eventually(lambda: {entry.queue for entry in fake.asked("ReceiveMessage")} == {"orders", "secret", "others"})

    denied = fake.fault("ReceiveMessage", Status("AccessDenied", 403), queue="secret", count=1000)
    fake.end_polls()
    del fake.backend.queues["orders"]
    await process.says("orders: receive failed .*NonExistentQueue")
    await process.says("secret: receive failed .*AccessDenied")
    ids = fake.send("others", {})
    await workshop.emptied("others")

    denied.heal()
    fake.create("orders", VisibilityTimeout="60")
    ids += fake.send("orders", {}) + fake.send("secret", {})
    await workshop.emptied("orders", "secret")
    assert await process.stop_early() == 0
    assert workshop.check(ids, lease=60).handled == 3
    assert "others: receive failed" not in process.log


async def test_t49_a_wall_clock_that_jumps_moves_no_lease_and_no_timer_and_a_skewed_one_is_named(fake, workshop):
    fake.create("orders", VisibilityTimeout="3")
    fake.create("doubted")
    fake.fault("ReceiveMessage", Status("RequestTimeTooSkewed", 403), queue="doubted")
    ids = fake.send("orders", {"until": "told"})
    workshop.route("orders")
    workshop.route("doubted")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))
    for jump in (86_400, -86_400):
        ids += fake.send("orders", {"jump": jump})
        await eventually(lambda: len(fake.left("orders")) == 1)
        beats = len(fake.asked(CHANGE))
        await eventually(lambda beats=beats: len(fake.asked(CHANGE)) > beats)
    workshop.release("told")
    await workshop.emptied("orders")
    assert await process.stop_early() == 0

    workshop.check(ids, lease=3)
    assert [line.receive_count for line in workshop.lines("end")] == [1, 1, 1]
    assert re.search("CredentialError.*this machine's clock is off", process.log)
    assert "doubted: receiving again" in process.log
