from __future__ import annotations

import pytest

from floe_dbt import messages
from floe_dbt.messages import Message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it broke", Message("it broke")),
        ("Runtime Error\n  it broke\n  twice", Message("it broke\ntwice")),
        (
            "Compilation Error in model e (models/e.sql)\n  Expected an expression\n    line 2\n"
            "      from {% if %}",
            Message("Expected an expression", "models/e.sql", 2),
        ),
        (
            "Database Error in model m (models/m.sql)\n  no such column\n"
            "  compiled code at target/run/m.sql",
            Message("no such column", "models/m.sql"),
        ),
        (
            "Compilation Error\n  Model 'a' (models/a.sql) and 'b' (models/b.sql) clash",
            Message("Model 'a' (models/a.sql) and 'b' (models/b.sql) clash"),
        ),
        (
            "Parsing Error\n  Error reading shop: deep/e.yml - Runtime Error\n"
            "    Syntax error near line 4\n    ------------------------------\n    3  | tags: [\n"
            "    \n    Raw Error:\n    ------------------------------\n"
            "    while parsing a flow node\n    did not find expected node content\n"
            '      in "<unicode string>", line 4, column 1',
            Message(
                "the file is not YAML: while parsing a flow node, did not find expected node "
                "content",
                "deep/e.yml",
                4,
            ),
        ),
        (
            "Runtime Error\n  at path ['version']: '1' is not valid\n  \n"
            "  Error encountered in /srv/shop/dbt_project.yml",
            Message("at path ['version']: '1' is not valid", "/srv/shop/dbt_project.yml"),
        ),
        (
            "External connection exception occurred: HTTPSConnectionPool(host='hub.getdbt.com', "
            "port=443): Max retries exceeded with url: /api/v1/index.json (Caused by "
            "NameResolutionError(\"HTTPSConnection(host='hub.getdbt.com', port=443): Failed to "
            "resolve 'hub.getdbt.com' ([Errno -2] Name or service not known)\"))",
            Message("hub.getdbt.com cannot be reached: name or service not known"),
        ),
    ],
)
def test_parse(text: str, expected: Message) -> None:
    assert messages.parse(text) == expected


def test_plain_keeps_the_stack_of_macros() -> None:
    text = "Compilation Error in macro m (macros/m.sql)\n  no\n  \n  > in macro m\n  > called by x"
    assert messages.plain(text) == "no\n\n> in macro m\n> called by x"


def test_plain_drops_the_severity() -> None:
    assert messages.plain("[WARNING]: not used") == "not used"
    deprecation = "[WARNING][ConfigDeprecation]: Deprecated functionality\n\nUse `x`.\nNot `y`."
    assert messages.plain(deprecation) == "Use `x`.\nNot `y`."


ERROR = 'Binder Error: no column "b"\n\nLINE 9:   b,\n          ^'


@pytest.mark.parametrize(
    ("source", "compiled", "line"),
    [
        pytest.param("select\n  a,\n  b,\n  c", "select\n  a,\n  b,\n  c", 3, id="once in both"),
        pytest.param("{{ x }}\n  b,\n", "\n\n\n  b,\n", 2, id="lines moved"),
        pytest.param("  b,\n  b,\n", "  b,\n  b,\n", None, id="twice"),
        pytest.param("{{ m() }}\n", "select\n  b,\n", None, id="not in the source"),
        pytest.param("select\n{{ c }},\nx", "select\n  b,\nx", 2, id="lines correspond"),
        pytest.param("with p as (\n  b,\n)", "  b,\nwith p as (\n  b,\n)", None, id="a parent's"),
    ],
)
def test_source_line(source: str, compiled: str, line: int | None) -> None:
    assert messages.source_line(ERROR, source, compiled) == line


def test_source_line_without_a_quoted_line() -> None:
    assert messages.source_line("out of memory", "select 1", "select 1") is None


def test_source_line_of_a_shortened_quote() -> None:
    sql = "select aaaaaaaaaaaa, bbbbbbbbbbbb from ccccccccccc ddddddddddddddd"
    error = "Catalog Error: no table\n\nLINE 1: ...aaaaa, bbbbbbbbbbbb from ccccccccccc ...\n  ^"
    assert messages.source_line(error, f"\n{sql}", sql) == 2


def test_missing_variable() -> None:
    assert messages.missing_variable("Env var required but not provided: 'A_B'") == "A_B"
    assert messages.missing_variable("something else") is None
