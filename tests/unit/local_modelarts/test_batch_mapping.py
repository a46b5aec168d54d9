"""How the files of a batch become requests, and what cannot become one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custom_image.model_config import Api
from local_modelarts.batch.inputs import keep_inputs
from local_modelarts.batch.mapping import BadInput, make_mapping
from local_modelarts.errors import ApiError
from local_modelarts.storage.obs import Obs


def api(content_type: str, **properties: object) -> Api:
    data = {"type": "object", "properties": properties}
    return Api.model_validate(
        {"url": "/", "method": "post", "request": {"Content-type": content_type, "data": data}}
    )


PICTURES = api("multipart/form-data", images={"type": "file"})
TABLE = api("application/json", data={"type": "object"})


def leaf(kind: str, index: object) -> dict[str, object]:
    return {"type": kind, "index": index}


def rule(**leaves: object) -> dict[str, object]:
    """The shape of the documented example: one object in ``data.req_data``."""
    row = {"type": "object", "properties": leaves}
    table = {"type": "object", "properties": {"req_data": {"type": "array", "items": [row]}}}
    return {"type": "object", "properties": {"data": table}}


def questions(path: Path, mapping_rule: object, api: Api = TABLE) -> list:
    return list(make_mapping(api, "csv", mapping_rule).questions(path))


def test_the_documented_csv_example_gives_the_documented_request(tmp_path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_text("5.1,3.5,1.4,0.2\n4.9,3.0,1.4,0.2\n4.7,3.2,1.3,0.2\n")

    found = questions(path, rule(**{f"input_{n + 1}": leaf("number", n) for n in range(4)}))

    assert [question.line for question in found] == [1, 2, 3]
    assert json.loads(json.dumps(found[0].json)) == {
        "data": {"req_data": [{"input_1": 5.1, "input_2": 3.5, "input_3": 1.4, "input_4": 0.2}]}
    }


def test_each_leaf_has_the_type_that_the_rule_says(tmp_path) -> None:
    path = tmp_path / "types.csv"
    path.write_text('"a, b",7,7,TRUE,0.5\n')
    kinds = ["string", "number", "integer", "boolean"]

    found = questions(path, rule(**{kind: leaf(kind, n) for n, kind in enumerate(kinds)}))

    row = found[0].json["data"]["req_data"][0]
    assert row == {"string": "a, b", "number": 7, "integer": 7, "boolean": True}
    assert type(row["number"]) is int


@pytest.mark.parametrize("index", [-1, 1.5, "0", None, True])
def test_a_leaf_whose_index_breaks_the_rule_is_left_out(tmp_path, index) -> None:
    path = tmp_path / "left_out.csv"
    path.write_text("1,2\n")

    found = questions(path, rule(kept=leaf("number", 1), left_out=leaf("number", index)))

    assert found[0].json["data"]["req_data"] == [{"kept": 2}]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ("x", "column 0 is 'x', expected number"),
        ("nan", "column 0 is 'nan', expected number"),
        ("1e999", "column 0 is '1e999', expected number"),
        ("", "column 0 is '', expected number"),
    ],
)
def test_a_line_that_cannot_be_a_request_is_named_and_the_next_one_is_read(
    tmp_path, cells, fault
) -> None:
    path = tmp_path / "faulty.csv"
    path.write_text(f"{cells},1\n\n4,1\n")

    first, last = questions(path, rule(a=leaf("number", 0), b=leaf("number", 1)))

    assert (first.line, first.fault) == (1, fault)
    assert (last.line, last.fault) == (3, "")


def test_a_line_that_is_too_short_says_which_column_is_missing(tmp_path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("1\n")

    found = questions(path, rule(a=leaf("number", 0), b=leaf("number", 4)))

    assert found[0].fault == "column 4 is missing: there are 1"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("table.txt", b"1\n", "does not end in .csv"),
        ("table.csv", b"\xff\xfe1\n", "no text in UTF-8: byte 0"),
        ("table.csv", b'"open', "no CSV file: line 1"),
        ("table.csv", b"1\n" * 6_000_001, "12.00 MB, expected at most 12 MB"),
    ],
)
def test_a_file_that_is_no_table_is_refused_as_a_whole(tmp_path, name, content, fault) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BadInput, match=fault):
        questions(tmp_path / name, rule(a=leaf("number", 0)))


def test_a_form_gets_a_field_for_each_member_of_the_request(tmp_path) -> None:
    (tmp_path / "table.csv").write_text("1\n")
    form = api("multipart/form-data", data={"type": "object"})

    found = questions(tmp_path / "table.csv", rule(a=leaf("number", 0)), form)

    assert found[0].json is None
    assert found[0].form == {"data": '{"req_data": [{"a": 1}]}'}


def test_a_picture_is_the_one_file_of_a_form(tmp_path) -> None:
    path = tmp_path / "7.jpg"
    path.write_bytes(b"picture")

    (question,) = make_mapping(PICTURES, "file", None).questions(path)

    assert question.files == {"images": ("7.jpg", b"picture")}


def test_a_picture_of_10_mb_is_too_large(tmp_path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(10_000_000))

    with pytest.raises(BadInput, match=r"10.00 MB, expected less than 10 MB"):
        list(make_mapping(PICTURES, "file", None).questions(path))


@pytest.mark.parametrize(
    ("api", "mapping_type", "mapping_rule", "words"),
    [
        (PICTURES, "file ", None, "expected one of file, csv"),
        (TABLE, "file", None, "exactly one input, of type file"),
        (TABLE, "csv", None, "mapping_rule must be given"),
        (TABLE, "csv", {"type": "object", "properties": {"a": leaf("number", -1)}}, "has an index"),
        (TABLE, "csv", {"type": "object", "properties": 7, "items": 7}, "has an index"),
        (Api.model_validate({"url": "/", "method": "post"}), "file", None, "ModelArts.3514"),
    ],
)
def test_a_mapping_that_does_not_fit_the_model_is_refused(
    api, mapping_type, mapping_rule, words
) -> None:
    with pytest.raises(ApiError, match=words):
        make_mapping(api, mapping_type, mapping_rule)


def test_a_manifest_names_its_files_and_its_faults(tmp_path) -> None:
    obs = Obs(tmp_path / "obs")
    manifest = obs.root / "pictures/all.manifest"
    manifest.parent.mkdir()
    manifest.write_text(
        '{"source": "obs://pictures/a/1.jpg"}\n'
        '{"source": "s3://pictures/b/1.jpg"}\n'
        "\n"
        "nonsense\n"
        '{"source": 7}\n'
        '{"source": "obs://pictures/a/"}\n'
        '{"source": "https://pictures.obs.example.com:443/c/2.jpg?Signature=x/y"}\n'
    )
    config = {"src_type": "ManifestFile", "src_path": "obs://pictures/all.manifest"}

    found = keep_inputs(obs, config, tmp_path / "kept.json")

    assert [each.result for each in found] == [
        "1.jpg_result.txt",
        "1.jpg_1_result.txt",
        "",
        "",
        "",
        "2.jpg_result.txt",
    ]
    assert [each.fault[:26] for each in found if each.fault] == [
        "Line 4 of the manifest is ",
        "Line 5 of the manifest is ",
        "The source is a folder, ex",
    ]
    manifest.write_text('{"source": "obs://pictures/a/9.jpg"}\n')
    assert keep_inputs(obs, config, tmp_path / "kept.json") == found
