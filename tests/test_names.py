import pytest

from cavtool.errors import InvalidInput
from cavtool.names import absorber_name, check_name, is_name


@pytest.mark.parametrize("name", ["a", "7", "twirl", "twirl-look", "dolly_zoom", "x" * 64, "con-1", "com"])
def test_valid_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Twirl", "twirl"),
        ("my twirl!", "my-twirl"),
        ("-twirl", "twirl"),
        ("été à la plage", "ete-a-la-plage"),
        ("twirl:0.7", "twirl-0-7"),
        ("a/b", "a-b"),
        ("../../etc", "etc"),
        ("twirl.", "twirl"),
        ("twirl\n", "twirl"),
        ("x" * 300, "x" * 64),
        ("con", "my-con"),
        ("lpt9", "my-lpt9"),
        ("", None),
        ("..", None),
        ("転がる", None),
        ("NUL", None),
    ],
)
def test_invalid_names_come_with_a_suggestion(name: str, suggestion: str | None) -> None:
    assert not is_name(name)
    with pytest.raises(InvalidInput) as caught:
        check_name(name)
    assert len(caught.value.message) < 100
    hint = caught.value.hint or ""
    assert hint.endswith(f"try `{suggestion}`") if suggestion else "try" not in hint
    assert suggestion is None or is_name(suggestion)


@pytest.mark.parametrize(("motion", "absorber"), [("twirl", "twirl-look"), ("x" * 64, "x" * 59 + "-look")])
def test_an_absorber_is_named_after_its_motion(motion: str, absorber: str) -> None:
    assert absorber_name(motion) == absorber
    assert is_name(absorber)
