"""What a template and a send become together."""

from __future__ import annotations

from typing import Any

from a2a_server.lifecycle.templates import merged, packed, unpacked
from a2a_server.model.objects import Data, Lane, Message, Part, Role, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.rows import RecordRow
from a2a_server.model.templates import Template, template_key


def options(**given: Any) -> TaskOptions:  # noqa: ANN401 - any field
    return TaskOptions.model_validate(given)


def message(*parts: Part) -> Message:
    return Message(Role.USER, parts)


TEMPLATE = Template(
    options(skill="report", priority="low", parameters={"format": "pdf", "pages": 3}, tags=["nightly"]), "Write it."
)


def test_what_the_send_gives_wins_each_parameter_by_itself() -> None:
    chosen, said = merged(
        TEMPLATE,
        options(template="t", priority="high", parameters={"pages": 7}),
        message(Data({"a": 1})),
    )
    assert (chosen.skill, chosen.priority, chosen.template) == ("report", Lane.HIGH, "t")
    assert chosen.parameters == {"format": "pdf", "pages": 7}
    assert chosen.tags == ("nightly",)
    assert said.parts == (Text("Write it."), Data({"a": 1}))
    assert {"skill", "priority", "parameters", "tags", "template"} == chosen.model_fields_set


def test_a_text_of_the_send_stands_instead_of_the_template_s() -> None:
    for parts, expected in (
        ((Text("Mine"),), (Text("Mine"),)),
        ((Text(""),), (Text("Write it."),)),
        ((Text(" "), Data(1)), (Text("Write it."), Data(1))),
    ):
        assert merged(TEMPLATE, options(template="t"), message(*parts))[1].parts == expected
    assert merged(Template(), options(), message(Text("")))[1].parts == (Text(""),)


def test_a_default_that_the_send_says_is_said() -> None:
    chosen, _ = merged(Template(options(delaySeconds=60, title="T")), options(delaySeconds=0, title=""), message())
    assert (chosen.delay_seconds, chosen.title) == (0, "")


def test_what_is_kept_comes_back_as_it_was() -> None:
    key = template_key("", "local", "", "t")
    assert unpacked(RecordRow(*key, 1, 0, packed(TEMPLATE))) == TEMPLATE
    assert (
        unpacked(RecordRow(*key, 1, 0, packed(TEMPLATE))).options.model_fields_set == TEMPLATE.options.model_fields_set
    )
