"""What the platform refuses in a request is refused before it is sent: at each limit, and over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from custom_image import specification
from custom_image.cloud import validation
from custom_image.errors import UsageError
from custom_image.model_config import Api, Body
from custom_image.rules.requirements import read_table

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PICTURE = Body(content_type="multipart/form-data", data={"properties": {"i": {"type": "file"}}})
FILE_API = Api(url="/", request=PICTURE)
JSON_API = Api(url="/", request=Body(data={"properties": {"x": {"type": "number"}}}))
HERE = "https://modelarts.eu-west-101.myhuaweicloud.com"
IMAGE = "swr.eu-west-101.myhuaweicloud.com/team/mnist:1"
CSV_RULE = {"properties": {"x": {"type": "number", "index": -1}}}
DOCUMENT = {"doc_name": "page", "doc_url": "https://example.com"}


def service(**fields: object) -> dict[str, object]:
    """Return a body of Inference 2.0 that is allowed but for these fields."""
    group = {"count": 128, "unit_configs": [{"image": {}}]}
    return {"deploy_type": "SINGLE", "version": "99.99.99", "group_configs": [group], **fields}


def probe(**fields: object) -> dict[str, object]:
    """Return a body whose unit has this start-up probe."""
    unit = {"startup_health": {"check_method": "HTTP", "url": "/health", **fields}}
    return service(group_configs=[{"unit_configs": [unit]}])


def config(*parts: tuple[int, object]) -> list[dict[str, object]]:
    return [{"weight": weight, "instance_count": count} for weight, count in parts]


# By row of the catalogue: (function, what it takes at the limit, what it refuses over it).
CASES = {
    "R-46": ("termination_grace", [(90,)], [(89,)]),
    "R-76": ("single_manifest", [("i", False)], [("i", True)]),
    "R-82": (
        "batch_mapping",
        [("file", FILE_API, None)],
        [("file", JSON_API, None), ("file", Api(), None), ("zip", FILE_API, None)],
    ),
    "R-83": (
        "batch_mapping",
        [("csv", JSON_API, CSV_RULE)],
        [
            ("csv", JSON_API, None),
            ("csv", JSON_API, {"properties": {}}),
            ("csv", JSON_API, {"properties": {"x": {"type": "number"}}}),
            ("csv", JSON_API, {"items": [{"type": "string", "index": -2}]}),
            ("csv", JSON_API, {"items": {"type": "boolean", "index": True}}),
        ],
    ),
    "R-84": (
        "batch_input",
        [("a.jpg", 9_999_999, "file"), ("a.csv", 12_000_000, "csv")],
        [
            ("a.jpg", 10_000_000, "file"),
            ("a.csv", 12_000_001, "csv"),
            ("a.txt", 1, "csv"),
        ],
    ),
    "R-85": (
        "batch_service",
        [("obs://b/in/", "obs://b/out/"), ("s3://b/in", "https://b.obs.example.com/in")],
        [("obs://b/in/", "obs://b/in/out/"), ("obs://b/", "obs://b"), ("/in", "obs://b/out")],
    ),
    "R-106": ("model_name", [("a" * 64,), ("A-b_9",)], [("a" * 65,), ("",), ("a b",), ("ä",)]),
    "R-107": (
        "model_version",
        [("0.0.1",), ("99.99.99",)],
        [("100.0.0",), ("01.01.01",), ("1.0",), ("1.0.0.0",), ("1.0.0\n",)],
    ),
    "R-108": (
        "description",
        [("x" * 100,), ("a & b", "v2"), ("x" * 512, "v2"), ("a (b)", "service")],
        [("x" * 101,), ("a & b",), ("a+b", "service"), ("x" * 513, "v2"), ("a<b", "v2")],
    ),
    "R-109": (
        "model_docs",
        [([DOCUMENT] * 3,)],
        [
            ([DOCUMENT] * 4,),
            ([{**DOCUMENT, "doc_name": "1st"}],),
            ([{**DOCUMENT, "doc_url": "ftp://example.com"}],),
        ],
    ),
    "R-110": (
        "service_config",
        [(config((60, 1), (40, 128)), "real-time"), (config((0, 1)), "batch")],
        [
            (config((60, 1), (41, 1)), "real-time"),
            (config((110, 1), (-10, 1)), "real-time"),
            (config((100, 129)), "real-time"),
            (config((100, 0)), "real-time"),
            (config((100, "1")), "real-time"),
            (config((50, 1), (50, 1)), "batch"),
            ([], "real-time"),
        ],
    ),
    "R-111": ("deploy_timeout", [(3,), (120,)], [(2,), (121,), (3.5,), (True,)]),
    "R-112": (
        "environment",
        [({"a" * 64: ""},), ({"_.-9": "<"},)],
        [({"a" * 65: ""},), ({"9a": ""},), ({"a b": ""},), ({"": ""},), ({"A": 1},)],
    ),
    "R-113": (
        "save_image",
        [("m" * 128, "o" * 64, "t" * 64), ("a/b", "my-org", "1.0_x-Y")],
        [
            ("m" * 129, "org", "1"),
            ("m", "o" * 65, "1"),
            ("m", "org", "t" * 65),
            ("m", "library", "1"),
            ("m", "1org", "1"),
            ("m--n", "org", "1"),
            ("m", "org", ".1"),
        ],
    ),
    "R-118": (
        "region",
        [(IMAGE, HERE), (IMAGE, "http://127.0.0.1:8000"), ("127.0.0.1:5000/team/m:1", HERE)],
        [(IMAGE, HERE.replace("eu-west-101", "cn-north-4"))],
    ),
    "R-119": ("source_copy", [(IMAGE, [])], [(IMAGE, ["mnist 1.0.0"])]),
    "R-120": (
        "mount_paths",
        [(["/" + "a" * 1023],), (["/a", "/a-b", "/b"],), ([f"/m{n}" for n in range(10)],)],
        [
            (["/" + "a" * 1024],),
            (["a"],),
            (["/"],),
            (["/var/run"],),
            (["/var/run/x"],),
            (["/a b"],),
            (["/a", "/a-b", "/a/b"],),
            (["/a/", "/a"],),
            ([f"/m{n}" for n in range(11)],),
        ],
    ),
    "R-125": (
        "async_service",
        [("real-time", "http"), ("real-time", "HTTPS")],
        [("batch", "http"), ("real-time", "ws")],
    ),
    "R-126": (
        "service_form_v2",
        [(service(),), (service(group_configs=[]),), (service(version="1.0.0"),)],
        [
            (service(version="100.0.0"),),
            (service(version="0.9.9"),),
            (service(version="1.0"),),
            (service(group_configs=[{}, {}]),),
            (service(group_configs=[{"unit_configs": [{}, {}]}]),),
            (service(group_configs=[{"count": 129, "unit_configs": [{}]}]),),
            (probe(url="/a.b"),),
            (probe(url="/" + "a" * 1024),),
            (probe(check_method="EXEC", cmd="a | b"),),
            (probe(check_method="EXEC", cmd=""),),
            (probe(failure_threshold=0),),
            (service(upgrade_config={"rolling_update": {"max_surge": "0%"}}),),
            (service(upgrade_config={"rolling_update": {"max_surge": "101%"}}),),
            (service(runtime_config={"service_limit": {"request_timeout": 7201}}),),
            (service(runtime_config={"service_limit": {"request_size_limit": 51}}),),
        ],
    ),
}
NAMED = {  # these take keywords
    "R-116": ("private_image", {"is_public": False}, {"is_public": True}),
    "R-117": ("image_tag", {"is_there": True}, {"is_there": False}),
    "R-124": ("websocket", {}, {"has_limit": True}),
    "R-128": (
        "login",
        {"expires_at": NOON + timedelta(seconds=1), "now": NOON},
        {"expires_at": NOON, "now": NOON},
    ),
}
ROWS = {row.id: row for row in read_table().rows if row.cloud}


def test_every_row_that_the_client_answers_for_is_drilled_here_and_no_other():
    assert set(ROWS) == set(CASES) | set(NAMED)


@pytest.mark.parametrize("row", [*CASES, *NAMED])
def test_a_row_points_at_the_function_that_refuses_it(row):
    name = (CASES.get(row) or NAMED[row])[0]

    assert ROWS[row].cloud == f"validation.{name}"
    assert callable(getattr(validation, name))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, case) for name, at_limit, _ in CASES.values() for case in at_limit],
    ids=lambda value: str(value)[:40],
)
def test_what_is_at_a_limit_is_allowed(name, arguments):
    getattr(validation, name)(*arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, case) for name, _, over in CASES.values() for case in over],
    ids=lambda value: str(value)[:40],
)
def test_what_is_over_a_limit_is_refused_with_what_to_do(name, arguments):
    with pytest.raises(UsageError) as refused:
        getattr(validation, name)(*arguments)

    said = str(refused.value).splitlines()
    assert ": expected " in said[0]
    assert ", found " in said[0]
    assert 2 <= len(said) <= 3
    assert all(len(line) < 300 for line in said)


@pytest.mark.parametrize("row", NAMED)
def test_what_is_asked_by_name_is_allowed_or_refused(row):
    name, good, bad = NAMED[row]
    arguments = [IMAGE] if row in ("R-116", "R-117") else []

    getattr(validation, name)(*arguments, **good)
    with pytest.raises(UsageError, match=r"expected .* found "):
        getattr(validation, name)(*arguments, **bad)


@pytest.mark.parametrize(("minutes", "is_good"), [(1, True), (300, True), (0, False), (301, False)])
def test_inference_2_0_has_another_range_for_a_deployment(minutes, is_good):
    if is_good:
        validation.deploy_timeout(minutes, is_v2=True)
        return
    with pytest.raises(UsageError, match="from 1 to 300"):
        validation.deploy_timeout(minutes, is_v2=True)


def test_inference_2_0_asks_more_of_mounts_and_variables():
    validation.mount_paths(["/a/"], is_v2=True)
    validation.environment({"A": "b"}, is_v2=True)

    for path in ("/a", "/" + "a" * 254 + "/"):
        with pytest.raises(UsageError, match="mount path"):
            validation.mount_paths([path], is_v2=True)
    with pytest.raises(UsageError, match="a value without"):
        validation.environment({"A": "a<b"}, is_v2=True)


def test_the_limits_are_those_of_the_specification():
    """The cases above spell numbers; the code takes them from one place."""
    assert specification.SIGTERM_EXIT.value == 90
    assert specification.MODEL_NAME_LENGTH.value == 64
    assert specification.SERVICE_INSTANCES.value == 128
    assert (specification.BATCH_PICTURE.value, specification.BATCH_CSV.value) == (10, 12)
