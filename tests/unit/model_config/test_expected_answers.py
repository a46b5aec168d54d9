"""The user's own samples: how they are read, and what counts as the expected answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custom_image.engines.docker.owners import is_gone, this_process
from custom_image.errors import UsageError
from custom_image.model_config import parse_model_config
from custom_image.probing.expected_answers import difference, read_samples
from custom_image.probing.http import Answer

SAMPLES = Path(__file__).parents[2] / "support" / "samples"
CONFIG = parse_model_config(
    (Path(__file__).parents[2] / "support/good_service/config.json").read_text(), "config.json"
)


def test_a_folder_holds_pairs_of_a_request_and_its_answer():
    (sample,) = read_samples(SAMPLES)
    request = sample.to_request(CONFIG)

    assert str(sample) == "seven"
    assert str(request) == "POST /"
    assert b'name="images"; filename="seven.jpg"' in request.body
    assert sample.fault(Answer(200, b'{"mnist_result": 7}')) == ""
    assert sample.fault(Answer(200, b'{"mnist_result": 1}')) == "$.mnist_result is 1, expected 7"


def test_a_list_says_what_is_sent_where_and_what_is_expected(tmp_path):
    (tmp_path / "seven.jpg").write_bytes(b"picture")
    (tmp_path / "samples.yaml").write_text(
        """
        - {file: seven.jpg, part: digit, answer: {scores: [0.1, 0.9]}, tolerance: 0.01}
        - {json: {text: hello}, url: /chat, status: 415}
        """
    )
    picture, text = read_samples(tmp_path)

    assert b'name="digit"' in picture.to_request(CONFIG).body
    assert picture.fault(Answer(200, b'{"scores": [0.101, 0.9], "more": 1}')) == ""
    assert "$.scores[1] is 0.8" in picture.fault(Answer(200, b'{"scores": [0.1, 0.8]}'))
    assert str(text.to_request(CONFIG)) == "POST /chat"
    assert json.loads(text.to_request(CONFIG).body) == {"text": "hello"}
    assert text.fault(Answer(415, b"")) == ""
    assert text.fault(Answer(200, b"")).startswith("expected 415, found 200")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: b", "expected a list of samples"),
        ("- {fil: x.jpg}", "Extra inputs"),
        ("[]", "holds no sample"),
        ("- {file: [", "expected a list of samples"),
    ],
)
def test_a_list_that_is_none_is_refused_by_its_place(content, words, tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text(content)

    with pytest.raises(UsageError) as caught:
        read_samples(path)

    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


def test_a_folder_without_samples_says_what_it_should_hold(tmp_path):
    with pytest.raises(UsageError, match=r"seven\.expected\.json"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("expected", "found", "where"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": 1}, {"b": 2}, "$.a is missing"),
        ([1, 2], [1], "$ has 1 members, expected 2"),
        (1, True, "$ is true, expected 1"),
        (1.0, 1, ""),
        (1000, 1000.5, ""),
        (1, 1.1, "$ is 1.1, expected 1"),
        (None, 0, "$ is 0, expected null"),
        ("7", 7, '$ is 7, expected "7"'),
    ],
)
def test_the_first_difference_is_named_by_its_place(expected, found, where):
    assert difference(expected, found, tolerance=1e-3) == where


def test_an_owner_is_gone_when_no_process_has_its_pid_and_time_of_start():
    here, pid, started = this_process().rsplit("/", 2)

    assert not is_gone(f"{here}/{pid}/{started}")
    assert is_gone(f"{here}/{pid}/1{started}")
    assert is_gone(f"{here}/{2**22 + 1}/{started}")


@pytest.mark.parametrize("owner", ["", "another:boot/1/2", "nonsense"])
def test_an_owner_that_cannot_be_known_is_left_alone(owner):
    assert not is_gone(owner)
