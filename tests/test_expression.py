"""How strategies are written, and that two spellings of one strategy are the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.expression import Expression, ExpressionError, parse, parse_list


def test_a_name_alone() -> None:
    assert parse(" lora ") == Expression("lora") and str(parse("lora")) == "lora"


def test_parts_and_options_nest() -> None:
    found = parse("distill(lora(r=16), teacher=hybrid(full, method=rrf))")
    assert found.name == "distill"
    assert found.arguments == (Expression("lora", options=(("r", Expression("16")),)),)
    assert dict(found.options)["teacher"] == Expression(
        "hybrid", (Expression("full"),), (("method", Expression("rrf")),)
    )


def test_a_list_is_split_at_its_own_commas_alone() -> None:
    assert [str(each) for each in parse_list("bm25, hybrid(lora,method=rrf) ,frozen")] == [
        "bm25",
        "hybrid(lora, method=rrf)",
        "frozen",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hybrid(lora,b=1,a=2)", "hybrid( lora , a=2, b=1 )"),
        ("run:a/b.trec", "run(file=a/b.trec)"),
        ("frozen('BAAI/bge-small-en-v1.5')", "frozen(BAAI/bge-small-en-v1.5)"),
        ("lora()", "lora"),
        ("lora(r=16,)", "lora(r=16)"),
    ],
)
def test_spellings_of_one_strategy(one: str, other: str) -> None:
    assert parse(one) == parse(other) and str(parse(one)) == str(parse(other))


@pytest.mark.parametrize("text", ["run:my.trec", 'run:"my runs/a, b.trec"', "frozen(http://localhost:8000/v1)"])
def test_files_and_addresses_are_names(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name, found the end"),
        ("hybrid(lora", "expected a comma or a closing parenthesis, found the end"),
        ("hybrid)", r"expected a comma or the end, found '\)' at character 7"),
        ("a,,b", "expected a name, found ',' at character 3"),
        ("hybrid(lora, lora(r=1)=2)", "expected an option's name before '='"),
        ("lora(r=1, r=2)", "'r' is given twice"),
        ("frozen('x)", "quotation mark at character 8"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_list(text)


def test_one_is_not_two() -> None:
    with pytest.raises(ExpressionError, match="not one strategy but 2"):
        parse("a,b")


NAMES = st.text(
    st.characters(codec="ascii", exclude_characters="\"' \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=1
).filter(lambda name: not name.startswith("run:"))
EXPRESSIONS = st.recursive(
    st.builds(Expression, NAMES),
    lambda inner: st.builds(
        lambda name, parts, options: Expression(name, tuple(parts), tuple(sorted(options.items()))),
        NAMES,
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS)
def test_the_canonical_form_is_read_back(expression: Expression) -> None:
    assert parse(str(expression)) == expression
