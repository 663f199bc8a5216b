"""Tables of options in a README: below a mark stands what the command in the mark prints.

::

    <!-- loafer plugins docs sqs --kind provider --table -->
    <!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable

_MARKED = re.compile(r"^(<!-- loafer plugins docs ([^\n]+) -->\n)(.*?)^(<!-- end -->)$", re.MULTILINE | re.DOTALL)


def filled(text: str, docs: Callable[[str], str]) -> str:
    """Put below each mark what ``docs`` answers to the words in it. A text without a mark stays as it is."""
    return _MARKED.sub(lambda found: f"{found[1]}{docs(found[2]).strip()}\n{found[4]}", text)
