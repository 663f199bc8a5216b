"""What `make torture` and `make numbers` do without a word, and with some."""

from __future__ import annotations

import pytest
from torture import numbers_page, torture


@pytest.mark.parametrize("script", [torture, numbers_page])
def test_without_a_word_every_part_is_done_and_else_those_that_are_named(script):
    assert script.read([]).parts == script.PARTS
    assert script.read([script.PARTS[1], "--seed", "7"]).parts == script.PARTS[1:2]


@pytest.mark.parametrize("script", [torture, numbers_page])
def test_a_part_that_there_is_not_is_told(script, capsys):
    with pytest.raises(SystemExit):
        script.read(["nothing"])

    assert f"there is no part 'nothing', only {script.PARTS[0]}" in capsys.readouterr().err
