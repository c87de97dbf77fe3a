"""Chat templates of strangers: each way to loop, flood or break is one sentence; honest ones are rendered."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import CheckpointError
from engine.model.templates.sandbox import LONGEST_SOURCE, ChatTemplate

MESSAGES = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue"}]
NESTED = "{% set a = namespace(x=(1,)) %}{% for i in range(60) %}{% set a.x = (a.x, a.x) %}{% endfor %}"
LONG = "{% set a = 'a' * 100000 %}"
MOST_BYTES = 60_000_000
"""What a refused rendering may hold at its peak: far less than the bombs would, far more than templates need."""


def sentence(source: str) -> str:
    with pytest.raises(CheckpointError) as refused:
        ChatTemplate(source, "DIR").render(MESSAGES)
    text = str(refused.value)
    assert text.startswith("the chat template of DIR ") and "\n" not in text and text.endswith(".")
    return text


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) if ('a' * 1000) | upper %}{% endfor %}",
        "{% set x %}{% for i in range(100000) %}" + "y" * 10000 + "{% endfor %}{% endset %}",
        "{% macro m() %}{% for i in range(9999) %}{{ caller() }}{% endfor %}{% endmacro %}{% call m() %}"
        + "{% if i %}{% endif %}" * 100
        + "{% endcall %}",
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{% set a = [1] * 10**9 %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        *(
            NESTED + "{{ " + use + " }}"
            for use in ("a.x", "a", "a.x | string", "a.x | tojson", "'' ~ a.x", "'%s' % a.x")
        ),
        *(NESTED + "{{ " + use + " }}" for use in ("{a.x: 1}", "messages[a.x]", "messages[0].get(a.x)", "1 in a.x")),
        *(NESTED + "{{ " + use + " }}" for use in ("a.x is eq(a.x)", "messages | map(attribute=a.x) | list")),
        NESTED + "{% set b = namespace(x=(1,)) %}{% for i in range(60) %}{% set b.x = (b.x, b.x) %}{% endfor %}"
        "{{ a.x == b.x }}",
        LONG + "{{ a.replace('', a) }}",
        LONG + "{{ a | replace('a', a) }}",
        LONG + "{{ range(100000) | join(a) }}",
        LONG + "{{ ('{0}' * 10000).format(a) }}",
        LONG + "{{ ('%(a)s' * 10000) % {'a': a} }}",
        LONG + "{% for i in range(100000) %}{% set b = a[1:] %}{% endfor %}",
        LONG + "{% for i in range(100000) %}{% if 'b' in a %}{% endif %}{% endfor %}",
        "{{ ('a\n' * 10000) | indent(10**9) }}",
        "{{ messages | tojson(indent=10**9) }}",
        "{{ range(100000) | map(attribute='a.' * 50000) | list }}",
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
    ],
)
def test_work_without_end_is_refused_before_it_is_done(source: str) -> None:
    tracemalloc.start()
    try:
        assert "cannot be rendered: it works or writes without end" in sentence(source)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
        ("{{ (10**7)**(10**7) }}", "a number in it is too large"),
        ("{% set n = namespace(x=3) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}", "too large"),
        ("{{ '%999999999d' % 1 }}", "a width in a format string"),
        ("{{ '%*d' % (10**9, 1) }}", "a width in a format string"),
        ("{{ '%.999999999f' | format(1) }}", "a width in a format string"),
        ("{{ '{:>999999999}'.format(1) }}", "a width in a format string"),
        ("{{ '{:>{}}'.format(1, 10**9) }}", "a width in a format string"),
        ("{{ '{a:>999999999}'.format_map({'a': 1}) }}", "unsafe"),
        ("{{ '%999999999d' is odd }}", "is a test of numbers"),
        ("{{ 'x' | center(10**9) }}", "No filter named 'center'"),
        ("{{ ['x'] | map('center', 10**9) | list }}", "No filter named 'center'"),
        ("{{ 'x'.center(10**9) }}", "unsafe"),
        ("{{ (1).to_bytes(10**10, 'big') }}", "unsafe"),
        ("{{ lipsum(n=10**9) }}", "'lipsum' is undefined"),
        ("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", "without end"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too deeply"),
        ("{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", "recursive loop"),
        ("{% block a %}{{ self.a() }}{% endblock %}", "statement (Block)"),
        ("{% include 'x' %}", "statement (Include)"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nests"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "nests"),
        ("{% for a in messages %}" * 30 + "{% endfor %}" * 30, "SyntaxError"),
        ("{{ " + "9" * 9999 + " }}", "digits"),
        ("x" * (LONGEST_SOURCE + 1), "200,001 characters"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ 2.0 ** 99999 }}", "OverflowError"),
        (NESTED + "{{ raise_exception(a.x) }}", "it refuses this conversation"),
    ],
)
def test_what_a_template_may_not_do_is_said(source: str, expected: str) -> None:
    assert expected in sentence(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ m.role[:1] | upper }} {% endfor %}",
            "1/2U 2/2A ",
        ),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}", "red"),
        ("{% set n = namespace(k=0) %}{% for m in messages[::-1] %}{% set n.k = n.k + 1 %}{% endfor %}{{ n.k }}", "2"),
        ("{{ messages[-1]['content'].split('l')[0].strip() ~ '|' ~ 3 * 2 ** 3 }}", "b|24"),
        ("{{ '%s and %03d' % ('a', 7) }}{{ '<{:>4}>'.format('b') }}{{ 'x%s' | format(1) }}", "a and 007<   b>x1"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "red"}'),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m('a') }}", "[a]"),
        ("{% macro m(x) %}{{ caller() }}{{ x }}{% endmacro %}{% call m(1) %}c{% endcall %}", "c1"),
        ("{{ 3 is odd }}{{ 'e' in 'red' and 'role' in messages[0] }}{{ x is defined }}", "TrueTrueFalse"),
        ("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% else %}none{% endfor %}", "role=user;content=red;"),
    ],
)
def test_what_honest_templates_use_is_rendered(source: str, expected: str) -> None:
    assert ChatTemplate(source).render(MESSAGES) == expected


@pytest.mark.parametrize("turns", [1, 100, 1500])
def test_a_long_conversation_has_fuel_for_each_turn(turns: int) -> None:
    body = "{% if m.role == 'user' and m.content | trim != '' %}{{ '<u>' + m.content | trim }}{% endif %}"
    template = ChatTemplate("{% for m in messages %}" + body * 20 + "{% endfor %}")
    assert template.render([{"role": "user", "content": "word " * 50}] * turns).count("<u>") == 20 * turns


WORDS = (
    "{{ }} {% %} for in if set endfor endif messages loop m i 'x' 9 10**9 * ** % ~ | upper join( map( range( ) [ ] ( . "
    ", : namespace( format( replace( tojson {# #} - + == is not \ud800 é"
)
PIECES = st.sampled_from(WORDS.split())


@settings(max_examples=250)
@given(st.lists(PIECES, max_size=25).map(" ".join), st.text(max_size=5))
def test_any_text_is_a_template_or_a_sentence(source: str, more: str) -> None:
    try:
        ChatTemplate(source + more).render(MESSAGES)
    except CheckpointError as error:
        assert "\n" not in str(error)
