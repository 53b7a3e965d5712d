"""How strategies are written, and that two spellings of one strategy are the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.expression import Expression, ExpressionError, parse, parse_list


def test_a_name_alone() -> None:
    assert parse(" lora ") == Expression("lora") and str(parse("lora")) == "lora"


def test_arguments_and_options_nest() -> None:
    expression = parse("distill(lora(r=16), teacher=hybrid(full, method=rrf))")
    assert expression.name == "distill"
    assert expression.arguments == (Expression("lora", options=(("r", Expression("16")),)),)
    assert dict(expression.options)["teacher"] == Expression(
        "hybrid", (Expression("full"),), (("method", Expression("rrf")),)
    )


def test_an_option_may_be_a_strategy_that_has_options_of_its_own() -> None:
    expression = parse("full(representation=multi, objective=listwise(teacher=rerank(frozen)))")
    options = dict(expression.options)
    assert options["representation"] == Expression("multi")
    teacher = dict(options["objective"].options)["teacher"]
    assert teacher == Expression("rerank", (Expression("frozen"),))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("matryoshka(contrastive)", ["contrastive"]),
        ("hybrid(lora, full)", ["lora", "full"]),
        ("soup(lora, full, dora(r=8), frozen)", ["lora", "full", "dora", "frozen"]),
    ],
)
def test_there_may_be_any_number_of_arguments(text: str, names: list[str]) -> None:
    assert [argument.name for argument in parse(text).arguments] == names
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("lora(sources=a|b)", "sources", "a|b"),
        ("lora(sources=medquad|scifact?max_length=128)", None, None),
        ('lora(sources="medquad|scifact?max_length=128")', "sources", "medquad|scifact?max_length=128"),
        ("lora(layers='0,5,11')", "layers", "0,5,11"),
        ('instruct(prompt="query: ")', "prompt", "query: "),
        ("instruct(prompt='say \"go\"')", "prompt", 'say "go"'),
        ('instruct(prompt="say ""go"", don\'t")', "prompt", 'say "go", don\'t'),
        ('instruct(prompt="")', "prompt", ""),
    ],
)
def test_a_value_with_signs_or_spaces_is_quoted(text: str, key: str | None, value: str | None) -> None:
    if key is None:
        with pytest.raises(ExpressionError, match="expected a comma or a closing parenthesis, found '='"):
            parse(text)
        return
    assert parse(text).options == ((key, Expression(value or "")),)
    assert parse(str(parse(text))) == parse(text)


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
        ("full(objective='listwise'(teacher=\"rerank\"(frozen)))", "full(objective=listwise(teacher=rerank(frozen)))"),
        ("instruct(prompt='a \"b\"')", 'instruct(prompt="a ""b""")'),
        ("lora()", "lora"),
        ("lora(r=16,)", "lora(r=16)"),
    ],
)
def test_spellings_of_one_strategy(one: str, other: str) -> None:
    assert parse(one) == parse(other) and str(parse(one)) == str(parse(other))


@pytest.mark.parametrize("text", ["run:my.trec", 'run:"my runs/a, b.trec"', "frozen(http://localhost:8000/v1)"])
def test_files_and_addresses_are_names(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


def test_a_quoted_name_is_never_the_short_form_of_a_run() -> None:
    assert parse('"run:x"') == Expression("run:x")
    assert str(parse('"run:x"')) == '"run:x"' and str(parse('run("run:x")')) == 'run("run:x")'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name, found the end"),
        ("hybrid(lora", "expected a comma or a closing parenthesis, found the end"),
        ("hybrid)", r"expected a comma or the end, found '\)' at character 7"),
        ("a,,b", "expected a name, found ',' at character 3"),
        ("hybrid(lora, lora(r=1)=2)", "expected an option's name before '='"),
        ("lora(r=1, r=2)", "'r' is set twice"),
        ("lora(r=)", r"expected a name, found '\)' at character 8"),
        ("full(objective=listwise(teacher=rerank(frozen))", "found the end"),
        ("frozen('x)", "quotation mark at character 8"),
        ('frozen("x"")', "quotation mark at character 8"),
        ("a(" * 51 + "b" + ")" * 51, "more than 50 levels of parentheses"),
        ("a(" * 100_000, "more than 50 levels of parentheses"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_list(text)


def test_fifty_levels_are_read_and_written() -> None:
    text = "a(" * 50 + "b" + ")" * 50
    assert str(parse(text)) == text
    assert len(parse_list(",".join([text] * 3))) == 3, "levels are counted for each strategy"


def test_one_is_not_two() -> None:
    with pytest.raises(ExpressionError, match="not one strategy but 2"):
        parse("a,b")


NAMES = st.one_of(st.text(), st.text("run:x", min_size=1), st.text("(),= '\"", min_size=1))
EXPRESSIONS = st.recursive(
    st.builds(Expression, NAMES),
    lambda inner: st.builds(
        lambda name, arguments, options: Expression(name, tuple(arguments), tuple(sorted(options.items()))),
        NAMES,
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES, inner, max_size=3),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS)
@example(Expression("run", options=(("file", Expression("run:x")),)))
@example(Expression("run", options=(("file", Expression("a", (Expression("b"),))),)))
def test_the_canonical_form_is_read_back(expression: Expression) -> None:
    assert parse(str(expression)) == expression


@settings(deadline=None, max_examples=300)
@given(st.text("ab(),='\" :|run", max_size=40))
def test_any_text_is_an_expression_or_a_mistake_of_the_user(text: str) -> None:
    try:
        expressions = parse_list(text)
    except BenchError:
        return
    assert parse_list(", ".join(map(str, expressions))) == expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lora(r={4,8})", ["lora(r=4)", "lora(r=8)"]),
        ("frozen, {lora,full}", ["frozen", "lora", "frozen", "full"]),
        ("compress({frozen,full}, store={int8,binary})", [
            "compress(frozen, store=int8)", "compress(frozen, store=binary)",
            "compress(full, store=int8)", "compress(full, store=binary)",
        ]),
        ("compress(x, {store=int8,dimension=64})", ["compress(x, store=int8)", "compress(x, dimension=64)"]),
        ("{hybrid(lora, method=rrf),rerank({bm25,frozen})}", [
            "hybrid(lora, method=rrf)", "rerank(bm25)", "rerank(frozen)",
        ]),
        ("{lora}", ["lora"]),
        ("lora(r={4,})", None),
    ],
)  # fmt: skip
def test_braces_stand_for_one_expression_for_each_item(text: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(ExpressionError):
            parse_list(text)
        return
    assert [str(each) for each in parse_list(text)] == expected


def test_braces_in_quotation_marks_are_characters_and_stay_quoted() -> None:
    (expression,) = parse_list('instruct(prompt="{query, text}")')
    assert dict(expression.options)["prompt"] == Expression("{query, text}")
    assert parse(str(expression)) == expression and '"{query, text}"' in str(expression)


@pytest.mark.parametrize("text", ["lora(r={4,8)", "{" * 999 + "x" + "}" * 999, "lora(r=4})", "}", "{", "lora{", "{}"])
def test_braces_that_are_not_closed_or_hold_nothing_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_list(text)


def test_braces_cannot_stand_for_a_million_expressions() -> None:
    with pytest.raises(ExpressionError, match="more than 1,000"):
        parse_list("x(" + ", ".join(f"o{number}={{1,2,3,4,5,6,7,8,9,0}}" for number in range(12)) + ")")


def test_several_expressions_are_not_one() -> None:
    with pytest.raises(ExpressionError, match="not one strategy but 2"):
        parse("lora(r={4,8})")
