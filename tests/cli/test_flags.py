"""A command line becomes plain values."""

import pytest

from limner.cli.flags import nested, read, split
from limner.core.errors import UsageError
from limner.operations.show import Setting

SETTINGS = [
    Setting("model", "The model file.", "PATH", required=True),
    Setting("count", "How many.", "N", limits="1 to 9"),
    Setting("checkpoint_every", "Steps between.", "N"),
    Setting("force", "Overwrite.", "", default=False),
    Setting("blur", "Blur it.", "", default=True),
    Setting("generator.lr", "Rate.", "X"),
    Setting("critic.lr", "Rate.", "X"),
    Setting("fit", "How it fits.", "crop|pad|stretch"),
    Setting("sizes", "Sizes.", "N", many=True),
]


def values(line: str) -> dict[str, object]:
    return read(split(line.split(), SETTINGS), SETTINGS, "limner try")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m", {"model": "m"}),
        ("m --count 3", {"model": "m", "count": "3"}),
        ("--count=3 m", {"model": "m", "count": "3"}),
        ("--force m", {"model": "m", "force": True}),
        ("m --no-blur --no-force", {"model": "m", "blur": False, "force": False}),
        ("m --checkpoint-every 5", {"model": "m", "checkpoint_every": "5"}),
        ("m --checkpoint_every 5", {"model": "m", "checkpoint_every": "5"}),
        ("m --count -1", {"model": "m", "count": "-1"}),
        ("m --generator.lr -.5", {"model": "m", "generator.lr": "-.5"}),
        ("m --count 1 --count 2", {"model": "m", "count": "2"}),
        ("m --sizes 8,16", {"model": "m", "sizes": ["8", "16"]}),
        ("-- --odd", {"model": "--odd"}),
        ("--model m", {"model": "m"}),
        ("m --fit=a=b", {"model": "m", "fit": "a=b"}),
    ],
)
def test_only_what_was_given_is_read(line: str, expected: dict[str, object]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("", "limner try needs MODEL", "The model file."),
        ("a b", "limner try does not know what to do with 'b'", "limner try --help says what it takes"),
        ("m --cuont 3", "limner try has no flag --cuont", "did you mean --count?"),
        ("m -count 3", "limner try has no flag -count", "did you mean --count?"),
        ("m --lr 3", "limner try has no flag --lr", "did you mean --generator.lr or --critic.lr?"),
        ("m --zzzzzz", "limner try has no flag --zzzzzz", "limner try --help lists its flags"),
        ("m --no-count", "limner try has no flag --no-count", "did you mean --count?"),
        ("m --count", "--count needs a value", "it takes a whole number, 1 to 9"),
        ("m --count --force", "--count needs a value", "it takes a whole number, 1 to 9"),
        ("m --fit", "--fit needs a value", "it takes crop, pad or stretch"),
    ],
)
def test_mistakes_are_named(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        values(line)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_the_last_place_may_take_many() -> None:
    places = [Setting("a", "A.", "PATH", required=True), Setting("b", "B.", "PATH", required=True, many=True)]
    assert read(split(["x", "y", "z"], places), places, "limner try") == {"a": "x", "b": ["y", "z"]}


def test_dotted_names_are_nested() -> None:
    assert nested({"a": 1, "g.lr": 2, "g.eps": 3}) == {"a": 1, "g": {"lr": 2, "eps": 3}}
