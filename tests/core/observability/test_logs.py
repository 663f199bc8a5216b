"""The log of ``loafer run``: a record is one line, and no text in it can forge another one."""

from __future__ import annotations

import logging

from loafer_core.observability.logs import OneLine


def test_a_traceback_in_the_log_is_indented_so_that_no_line_of_it_looks_like_a_record():
    try:
        raise ValueError("a\n12:00:00 ERROR   forged\x1b")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed %s", ("\u2028",), None)
        record.exc_info = (type(error), error, error.__traceback__)
        record.stack_info = "Stack\x07\n  here"

    first, *others = OneLine().format(record).splitlines()

    assert first.endswith(r" ERROR   failed \u2028")
    assert all(line.startswith("    ") for line in others)
    assert r"    12:00:00 ERROR   forged\x1b" in others
    assert others[-2:] == [r"    Stack\x07", "      here"]
