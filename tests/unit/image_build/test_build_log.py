"""The classic builder's messages, and what a built image says about itself."""

from __future__ import annotations

from custom_image.builders import BuiltImage, Layer
from custom_image.builders.build_log import BuildLog
from custom_image.builders.docker import image_layers
from custom_image.engines import ImageFacts

STREAM = (
    "Step 1/6 : ARG BASE_IMAGE=x\n",
    "Step 2/6 : FROM ${BASE_IMAGE} AS wheels\n ---> 1\n",
    "Step 3/6 : RUN make\n ---> Using cache\n ---> 2\n",
    "Step 4/6 : FROM ${BASE_IMAGE}\n ---> 1\n",
    "Step 5/6 : COPY --from=wheels /a /a\n",
    " ---> Using cache\n ---> 3\n",
    "Step 6/6 : RUN one     && two\n ---> Running in 4\n",
    "\x1b[91mwarn",
    "ing\x1b[0m\n",
)


def _facts(history: tuple[tuple[str, int], ...]) -> ImageFacts:
    return ImageFacts(
        reference="mnist:1",
        id="sha256:" + "ab" * 32,
        size_bytes=sum(size for _, size in history),
        layers=(),
        command=(),
        shell_form=False,
        user="",
        working_dir="",
        environment={},
        exposed_ports=(),
        architecture="amd64",
        os="linux",
        labels={},
        history=history,
    )


def _read(*texts: str) -> BuildLog:
    log = BuildLog()
    for text in texts:
        log.read({"stream": text})
    return log


def test_steps_are_read_with_what_was_reused() -> None:
    log = _read(*STREAM)

    assert log.total == 6
    assert [(step.instruction, step.reused) for step in log.last_stage] == [
        ("COPY --from=wheels /a /a", True),
        ("RUN one     && two", False),
    ]
    assert log.steps[2].reused
    assert log.error == ""


def test_output_of_commands_is_kept_without_its_colours() -> None:
    assert _read(*STREAM).lines[-1] == "warning"


def test_what_a_command_prints_is_taken_for_no_step() -> None:
    log = _read("Step 1/1 : RUN x\n", "echo Step 9/9 : FROM y\n", " ---> Using cache, said x\n")

    assert len(log.steps) == 1
    assert not log.steps[0].reused


def test_a_failure_names_the_step_and_leaves_out_what_the_engine_repeats() -> None:
    log = _read(*STREAM)
    log.read({"errorDetail": {}, "error": "The command 'one && two' returned a non-zero code: 2"})

    assert log.failure == "step 6 of 6, 'RUN one && two': exit code 2"


def test_a_failure_before_the_first_step_is_given_as_it_is() -> None:
    log = BuildLog()
    log.read({"error": "dockerfile parse error line 3: unknown instruction: FORM"})

    assert log.failure == "dockerfile parse error line 3: unknown instruction: FORM"


def test_layers_join_what_was_said_with_what_was_measured() -> None:
    steps = _read("Step 1/4 : FROM x\nStep 2/4 : RUN a\n ---> Using cache\n").last_stage
    steps += _read("Step 1/9 : FROM x\nStep 3/4 : USER 1\nStep 4/4 : COPY b c\n").last_stage
    facts = _facts((("ADD rootfs", 100), ("CMD", 0), ("RUN a", 20), ("USER 1", 0), ("COPY", 3)))

    assert image_layers(steps, facts, "base:1") == (
        Layer("FROM base:1", 100, reused=True),
        Layer("RUN a", 20, reused=True),
        Layer("COPY b c", 3, reused=False),
    )


def test_a_built_image_shows_its_layers_and_what_was_reused() -> None:
    layers = (
        Layer("FROM base:1", 2_000_000, reused=True),
        Layer("RUN " + "x" * 500 + " <&>", 1_000_000, reused=False),
    )
    image = BuiltImage("mnist:1", _facts((("", 3_000_000),)), layers, 1.25, "cd" * 32)

    assert image.reused_bytes == 2_000_000
    assert "mnist:1: 3 MB" in str(image)
    assert "built in 1.2 s, 2 MB of it reused" in str(image)
    assert max(map(len, str(image).splitlines())) < 130
    assert "&lt;" not in image._repr_html_(), "the long instruction is cut before its end"
    assert "<td>2.00</td>" in image._repr_html_()
