import pytest

from cavtool.errors import IntegrityFailure
from cavtool.events import Event, Note, Stage, Step, Transfer, Warn, from_json, to_json


@pytest.mark.parametrize(
    "event",
    [
        Stage("motion", 2, 3),
        Step("motion", 1, 40, None, 0.25),
        Step("motion", 2, 40, 0.5, 1.0),
        Transfer("a/b", 1, 2, 0.5),
        Note("a"),
        Warn("b"),
    ],
)
def test_an_event_survives_its_json(event: Event) -> None:
    assert from_json(to_json(event)) == event


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "unknown event `None`"),
        ({"event": "dance"}, "unknown event `dance`"),
        ({"event": ["step"]}, "unknown event"),
        ({"event": "note"}, "the event `note` has no `text`"),
        ({"event": "note", "text": 1}, "the event `note` has no valid `text`"),
    ],
)
def test_anything_else_is_refused(fields: object, message: str) -> None:
    with pytest.raises(IntegrityFailure, match=message):
        from_json(fields)
