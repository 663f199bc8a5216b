"""'module:attribute' is found, or it is said what of it is not there and what went wrong inside."""

from __future__ import annotations

import os.path

import pytest

from loafer_core import ConfigError, import_target

WHERE = "routes.orders.handler"


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """Write a module that no other test knows; gives its name and its file."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"shop_{abs(hash(request.node.nodeid))}"

    def write(source, name=name):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return name, path

    return write


def refusal(reference):
    with pytest.raises(ConfigError) as caught:
        import_target(reference, WHERE)
    (finding,) = caught.value.findings
    assert finding.where == WHERE
    return finding.message


def test_it_gives_what_the_reference_names():
    assert import_target("os.path:join", WHERE) is os.path.join
    assert import_target("os:path.join", WHERE) is os.path.join


@pytest.mark.parametrize("reference", ["os.path.join", "os.path", ":join", "os.path:", ":", ""])
def test_a_reference_without_both_sides_of_a_colon_is_told_its_form(reference):
    assert refusal(reference) == f"{reference!r} is not of the form 'module:attribute'"


def test_a_missing_module_is_named_with_where_it_was_looked_for():
    assert refusal("shopp.handlers:handle") == (
        "there is no module 'shopp' (looked for 'shopp.handlers'; is its folder in loafer.import_paths?)"
    )


def test_a_missing_part_of_a_package_is_named(module):
    module("", "warehouse_package.__init__")
    assert refusal("warehouse_package.handlers:handle").startswith("there is no module 'warehouse_package.handlers'")


def test_a_module_that_is_there_but_lacks_something_itself_is_told_from_a_missing_one(module):
    name, path = module("x = 1\nimport no_such_library\n")
    assert refusal(f"{name}:handle") == (
        f"{name!r} itself imports 'no_such_library', which is not installed ({path}, line 2)"
    )


def test_a_module_of_similar_name_that_is_missing_inside_is_not_taken_for_the_module_itself(module):
    name, path = module("")
    for other in (f"{name}_more", name[:-1]):
        path.write_text(f"import {other}\n")
        assert f"{name!r} itself imports {other!r}" in refusal(f"{name}:handle")


@pytest.mark.parametrize(
    ("source", "words", "line"),
    [
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero", 2),
        ("import os\n\nDB = os.environ['NO_SUCH_VARIABLE']\n", "KeyError: 'NO_SUCH_VARIABLE'", 3),
        ("def f():\n    raise ValueError('inside')\n\nf()\n", "ValueError: inside", 4),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("raise ModuleNotFoundError('by hand')\n", "ModuleNotFoundError: by hand", 1),
        ("def f(:\n", "SyntaxError: invalid syntax", 1),
        ("if True:\nx = 1\n", "IndentationError: expected an indented block after 'if' statement on line 1", 2),
    ],
)
def test_a_module_that_fails_is_quoted_with_file_and_line(source, words, line, module):
    name, path = module(source)
    assert refusal(f"{name}:handle") == f"importing {name!r} failed: {words} ({path}, line {line})"


def test_a_failure_in_a_module_that_the_module_imports_is_placed_there(module):
    inner, inner_path = module("\n\n1 / 0\n", "inner_of_the_shop")
    name, _ = module(f"import {inner}\n")
    assert refusal(f"{name}:handle").endswith(f"ZeroDivisionError: division by zero ({inner_path}, line 3)")


def test_a_module_that_cannot_even_be_read_is_reported_without_a_line(module):
    name, path = module("")
    path.write_bytes(b"x = '\xff'\n")
    assert refusal(f"{name}:handle").startswith(f"importing {name!r} failed: SyntaxError: ")

    assert refusal(".relative:handle").startswith("importing '.relative' failed: TypeError: ")


def test_a_missing_attribute_is_told_the_nearest_name(module):
    name, _ = module("def handle_order(): ...\n\nclass Orders:\n    def handle(self): ...\n\nlimit = 7\n")

    assert refusal(f"{name}:handle_orders") == (
        f"module {name!r} has no attribute 'handle_orders'; did you mean 'handle_order'?"
    )
    assert refusal(f"{name}:xyz") == f"module {name!r} has no attribute 'xyz'"
    assert refusal(f"{name}:Orders.handel") == "object 'Orders' has no attribute 'handel'; did you mean 'handle'?"
    assert refusal(f"{name}:limit.bits").startswith("object 'int' has no attribute 'bits'")


def test_an_attribute_that_fails_when_it_is_looked_up_is_the_users_own_error(module):
    name, _ = module("def __getattr__(name):\n    raise RuntimeError(f'no {name} today')\n")
    assert refusal(f"{name}:handle") == f"looking up 'handle' for '{name}:handle' failed: RuntimeError: no handle today"
