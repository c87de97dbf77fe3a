"""Untrusted chat templates: loops, floods and crashes are refused in one sentence; honest ones are rendered."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import CheckpointError
from engine.model.chat_template import LONGEST_SOURCE, ChatTemplate

MESSAGES = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue"}]
DAY = "2024-02-29"
NESTED = "{% set a = namespace(x=(1,)) %}{% for i in range(60) %}{% set a.x = (a.x, a.x) %}{% endfor %}"
WIDE = "{% set n = namespace(x=(1,)) %}{% for i in range(13) %}{% set n.x = (n.x, n.x) %}{% endfor %}{% set w = n.x %}"
LONG = "{% set a = 'a' * 100000 %}"
LOOP, END = "{% for i in range(100000) %}", "{% endfor %}"
ZERO = "{% set x = 0 %}"
ORS = " or ".join(["(" + " or ".join(["x"] * 30) + ")"] * 30)
"""900 operations that call nothing."""
MOST_BYTES = 60_000_000
"""Peak memory that a refused rendering may take: far less than the bombs would, far more than templates need."""


def sentence(source: str) -> str:
    with pytest.raises(CheckpointError) as refused:
        ChatTemplate(source, "DIR").render(MESSAGES, DAY)
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
        # loops that call nothing
        "{% for i in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] %}" * 12 + "x" + END * 12,
        "{% for i in 'aaaaaaaaaa' %}" * 15 + END * 15,
        LOOP + "{% for j in range(100000) if false %}{% endfor %}" + END,
        ZERO + "{% for i in range(100000) if " + ORS + " %}{% endfor %}",
        ZERO + "{% macro m(y=" + ORS + ") %}{% endmacro %}" + LOOP + "{{ m() }}" + END,
        ZERO + LOOP + "{{ " + ORS + " }}" + END,
        ZERO + LOOP + "{% if not i %}{% elif " + ORS + " %}{% endif %}" + END,
        "{% macro m(n) %}{% if n %}" + "{{ m(n - 1) }}" * 10 + "{% endif %}{% endmacro %}{{ m(30) }}",
        "{% generation %}" + LOOP * 2 + END * 2 + "{% endgeneration %}",
        "{% filter upper %}" + LOOP + "y" * 1000 + END + "{% endfilter %}",
        "{% macro m() %}"
        + LOOP
        + "{{ caller() }}"
        + END
        + "{% endmacro %}{% call m() %}"
        + "y" * 10000
        + "{% endcall %}",
        # a wide value that is read in a loop
        *(
            WIDE + LOOP + "{% set c = " + use + " %}" + END
            for use in (
                "messages[0][w]",
                "messages[0].get(w)",
                "{w: 1}",
                "2 in w",
                "w == w",
                "w is eq(w)",
                "'' ~ w",
                "w | tojson",
                "w | string",
                "w | sort",
                "w[1:]",
                "[w]",
                "w + w",
                "'%s' % (w,)",
                "'{}'.format(w)",
                "loop.changed(w)",
            )
        ),
        *(
            LONG + LOOP + "{% set c = " + use + " %}" + END
            for use in ("a.title()", "a | upper", "a is upper", "a.count('ab')", "a.strip('ab')", "a < a", "a | list")
        ),
        WIDE + LOOP + "{{ w }}" + END,
        WIDE + "{% macro m(x) %}{% endmacro %}" + LOOP + "{{ m(w) }}" + END,
        WIDE + "{{ w | tojson(indent=8) }}",
        # doubling without a container or an operator
        "{% macro m(d) %}{% if d %}{{ m(d - 1, varargs, varargs) }}{% else %}{{ varargs }}{% endif %}{% endmacro %}"
        "{{ m(60, 1) }}",
        "{% macro m(d) %}{% if d %}{% set x = m(d - 1) %}{{ x }}{{ x }}{% else %}x{% endif %}{% endmacro %}{{ m(60) }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='<') %}{% for i in range(60) %}{% set n.x = n.x | safe + (n.x ~ '<') %}{% endfor %}",
        "{% set n = namespace(x='<') %}{% for i in range(60) %}{% set x %}{{ n.x | e }}{{ n.x }}{% endset %}"
        "{% set n.x = x %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = n.x + [i] %}{% endfor %}",
        # filters and methods that make more than they read
        "{{ ([[1]] * 60000) | sum(start=[]) }}",
        "{{ range(0, (2**61 - 1) * 40000, 2**61 - 1) | unique }}",
        LONG + "{% set s = {a: 1}.keys() - [] %}" + LOOP + "{{ s }}" + END,
        "{{ ('\n' * 800000) | indent(90, true, true) }}",
        "{% set n = namespace(x=[]) %}{% for i in range(600) %}{% set n.x = [n.x] %}{% endfor %}"
        "{{ n.x | tojson(indent=300) }}",
        LONG + "{{ a | map('replace', 'a', a) }}",
        "{{ range(100000) | map('string') | join('b' * 100000) }}",
        "{% set a = 'a' * 3000 %}{{ a | replace('a', '🦉' * 3000) }}",
        "{{ ('東 ' * 700000).split() }}",
        "{{ ('東' * 1500000) | list }}",
        "{{ ('{:>99}' * 100000).format(*range(100000)) }}",
        "{{ ('{0:>99}' * 200000).format(1) }}",
        "{{ ('%(a)99s' * 200000) % {'a': 1} }}",
        LOOP + "{{ loop.cycle(*range(90000)) }}" + END,
        "{% with a = 'x' * 10**9 %}{% endwith %}",
        "{{ strftime_now('%c' * 100000) }}",
    ],
)
def test_endless_work_is_refused_before_it_is_done(source: str) -> None:
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
        ("{{ '%(a(b)c)999999999d' % {'a(b)c': 1} }}", "a width in a format string"),
        ("{{ '%(a(b)c)999999999d' is divisibleby(3) }}", "is a test of numbers"),
        ("{{ '{0[}]:>999999999}'.format({'}': 1}) }}", "a width in a format string"),
        ("{{ ('%(' * 90000) % 1 }}", "a width in a format string"),
        ("{{ ('%' + '-' * 100000) % 1 }}", "a width in a format string"),
        ("{% set n = namespace() %}{% set n.x = n %}{{ n }}", "it prints a namespace"),
        ("{% set a = namespace() %}{% set b = (a, a) %}{% set a.b = (b, b) %}{{ b }}", "it prints a namespace"),
        ("{% autoescape true %}{{ '<' }}{% endautoescape %}", "statement (ScopedEvalContextModifier)"),
        ("{{ " + "-" * 50000 + "1 }}", "nests"),
        ("{{ x" + ".a" * 50000 + " }}", "nests"),
        (NESTED + "{{ raise_exception(a.x) }}", "without end"),
        (WIDE + "{{ raise_exception(w) }}", "it refuses this conversation"),
    ],
)
def test_forbidden_operations_are_refused_in_one_sentence(source: str, expected: str) -> None:
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
        ("{% generation %}{{ messages[1].content }}{% set x = 1 %}{% endgeneration %}{{ x is defined }}", "blueFalse"),
        (
            "{{ 'a' ~ 1 ~ (2,) ~ nothing }}{{ 1 < 2 < 3 }}{{ 2 not in [1] }}{{ 5 % 3 }}{{ 2 - 1 }}",
            "a1(2,)TrueTrue21",
        ),
        (
            "{{ [3, 1, 2] | sort | join }}{{ [1, 2] | sum }}{{ 'a\nb' | indent(2) }}{{ 5 is divisibleby(5) }}",
            "1233a\n  bTrue",
        ),
    ],
)
def test_honest_templates_are_rendered(source: str, expected: str) -> None:
    assert ChatTemplate(source).render(MESSAGES) == expected


def test_a_template_is_given_the_recorded_day_or_no_function() -> None:
    template = ChatTemplate("{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}none{% endif %}")
    assert [template.render(MESSAGES, day) for day in ("2024-02-29", "", "2026-01-02")] == [
        "29 Feb 2024",
        "none",
        "02 Jan 2026",
    ]
    with pytest.raises(CheckpointError, match="cannot be rendered: Invalid isoformat string: 'today'"):
        template.render(MESSAGES, "today")


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
def test_any_text_renders_or_is_refused_in_one_sentence(source: str, more: str) -> None:
    try:
        ChatTemplate(source + more).render(MESSAGES)
    except CheckpointError as error:
        assert "\n" not in str(error)
