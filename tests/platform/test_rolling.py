"""Rolling updates under load: what is lost, what is not, and when what happens to an instance."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import docker, publish_model
from local_services import Deployed, config_of, deployed, under_load

from custom_image.errors import Unavailable

LAG_S = 60 / 20
NO_DRAIN = {"DRAIN_SECONDS": "0", "EXIT_SECONDS": "1", "MODEL_SERVER": "gunicorn-gevent"}

BRIEF = {"DRAIN_SECONDS": "1"}


@pytest.fixture(scope="module")
def second_model(quick: Cloud, serving_address: str, serving_config: dict[str, Any]) -> str:
    """The same image as another version of the model."""
    return publish_model(quick, serving_address, serving_config, "serving", model_version="2.2.2")


def happened(service: Deployed) -> dict[str, dict[str, float]]:
    """Return when what happened to each instance, in the order of their starts."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for entry in service.timeline():
        found[entry["instance"]][entry["kind"]] = entry["at"]
    return found


def unrouted(service: Deployed, count: int) -> list[dict[str, float]]:
    """Wait until routing knows of ``count`` ends; return what happened to those instances."""
    ended = wait_for(
        lambda: (
            e
            if len(e := [h for h in happened(service).values() if "unrouted" in h]) >= count
            else None
        ),
        f"{count} instances are unrouted",
    )
    return list(ended)


def test_there_and_back_again_loses_nothing(
    quick: Cloud, serving_model: str, second_model: str
) -> None:
    with (
        deployed(quick, "hitless", config_of(serving_model)) as service,
        under_load(service.running()) as load,
    ):
        for number, model in enumerate((second_model, serving_model), 1):
            service.update(config_of(model))
            assert service.show()["status"] == "deploying"
            service.running()
            ended = unrouted(service, number)[-1]
            load.wait_for(10)
            assert ended["unrouted"] - ended["sigterm"] >= LAG_S - 0.5

        assert not load.lost
        assert {says.split()[1] for says in load.served_by} == {"1.0.0", "2.2.2"}
        assert len(load.served_by) == 3, "three instances have answered"
        starts = list(happened(service).values())
        assert starts[1]["ready"] <= starts[0]["sigterm"], "health gates the change"
        assert service.show()["config"][0]["model_version"] == "1.0.0"


def test_an_image_without_a_drain_loses_requests(
    quick: Cloud, serving_model: str, second_model: str
) -> None:
    """The negative control: the same image, told to end at once."""
    with (
        deployed(quick, "lossy", config_of(serving_model, envs=NO_DRAIN)) as service,
        under_load(service.running()) as load,
    ):
        service.update(config_of(second_model))
        service.running()
        unrouted(service, 1)

    assert load.lost
    assert set(load.lost) <= {"ModelArts.4302", "ModelArts.4503"}


def test_in_a_public_pool_an_update_interrupts_and_says_so(
    quick: Cloud, serving_model: str, second_model: str
) -> None:
    with (
        deployed(quick, "public", config_of(serving_model, pool_name=None, envs=BRIEF)) as service,
        under_load(service.running()) as load,
    ):
        service.update(config_of(second_model, pool_name=None))
        service.running()
        old, new = happened(service).values()

        assert any("not hitless" in event for event in service.events())
    assert old["exited"] <= new["started"], "old instances end before new ones start"
    assert load.lost


def test_surge_and_unavailable_bound_the_number_of_instances(
    quick: Cloud, serving_model: str, second_model: str
) -> None:
    """Two instances, no surge, one may be missing: never over two, never under one."""
    more = {"max_surge": 0, "max_unavailable": 1}
    two: dict[str, Any] = {"instance_count": 2, "additional_properties": more, "envs": BRIEF}
    with deployed(quick, "bounded", config_of(serving_model, **two)) as service:
        service.running()
        service.update(config_of(second_model, **two))
        service.running()
        instances = happened(service).values()

    moments = sorted(at for instance in instances for at in instance.values())
    first_update = min(instance["sigterm"] for instance in instances if "sigterm" in instance)
    for moment in (at for at in moments if at >= first_update):
        told = [i for i in instances if "sigterm" not in i or i["sigterm"] > moment]
        ready = [i for i in told if i.get("ready", moment + 1) <= moment]
        started = [i for i in told if i["started"] <= moment]
        assert len(started) <= 2
        assert len(ready) >= 1
    assert len(instances) == 4


def test_an_update_to_a_broken_image_is_rolled_back_and_nothing_is_lost(
    quick: Cloud, serving_address: str, serving_model: str, serving_config: dict[str, Any]
) -> None:
    health = serving_config["health"] | {"url": "/nothing", "failure_threshold": "4"}
    broken = publish_model(quick, serving_address, serving_config | {"health": health}, "bad")
    with (
        deployed(quick, "rolled-back", config_of(serving_model)) as service,
        under_load(service.running()) as load,
    ):
        service.update(config_of(broken))
        service.running()
        load.wait_for(5)

        assert not load.lost
        assert len(load.served_by) == 1
        assert service.show()["config"][0]["model_name"] == "serving"
        assert any(
            event.startswith("Failed to update the service. Perform a rollback.")
            for event in service.events("abnormal")
        )


def test_more_instances_are_added_and_taken_away_without_touching_the_others(
    quick: Cloud, serving_model: str
) -> None:
    with deployed(quick, "scaled", config_of(serving_model)) as service:
        service.running()
        service.update(config_of(serving_model, instance_count=2))
        service.running()
        assert len(happened(service)) == 2
        service.update(config_of(serving_model, instance_count=1))
        service.running()

        wait_for(
            lambda: sum("sigterm" in h for h in happened(service).values()) == 1, "one is stopped"
        )
        assert len(happened(service)) == 2
        assert service.show()["config"][0]["instance_count"] == 1


def test_an_instance_that_ignores_sigterm_is_killed_after_its_grace(
    quick: Cloud, serving_model: str
) -> None:
    """Its service asks for 30 s in place of 90: 1.5 s here."""
    stubborn = {"DRAIN_SECONDS": "60", "EXIT_SECONDS": "85"}
    more = {"termination_grace_period_seconds": 30}
    config = config_of(serving_model, envs=stubborn, additional_properties=more)
    with deployed(quick, "stubborn", config) as service:
        service.running()
        service.update(config_of(serving_model))
        service.running()
        wait_for(lambda: any("killed" in h for h in happened(service).values()), "it is killed")
        wait_for(
            lambda: any("exited" in h for h in happened(service).values()), "its end is noticed"
        )
        killed = next(e for e in service.timeline() if e["kind"] == "exited")
        times = next(h for h in happened(service).values() if "killed" in h)

    assert killed["exit_code"] == 137
    assert times["killed"] - times["sigterm"] > 1.2


def test_a_platform_killed_in_the_middle_of_an_update_goes_on_with_it(
    rehearsal: Rehearsal, quick: Cloud, serving_model: str, second_model: str
) -> None:
    """Containers live on; whoever starts next adopts them and comes to the same end."""
    limits = ("speed=20", "requests_per_s=100000", "services=1000")
    with deployed(quick, "survivor", config_of(serving_model)) as service:
        service.running()
        before = {entry["instance"] for entry in service.timeline()}
        service.update(config_of(second_model))

        deaths = 0
        for die in ("after", "before", "after", "before", ""):
            rehearsal.kill()
            try:
                cloud = rehearsal.up([*limits, *([f"die={die}"] if die else [])])
            except Unavailable:  # it was dead before it had begun to answer
                assert die
            if die:
                rehearsal.wait_until_dead()
                deaths += 1
        service = Deployed(cloud, service.id)

        assert service.settled() == "running"
        unrouted(service, 1)
        assert service.show()["config"][0]["model_version"] == "2.2.2"
        assert deaths == 4
        instances = {entry["instance"] for entry in service.timeline()}
        assert before < instances
        assert len(instances) == 2, "no step was done twice"
        running = docker("ps", "--format", "{{.Names}}").split()
        assert [name in running for name in sorted(instances - before)] == [True]
        with under_load(service) as load:
            load.wait_for(5)
        assert not load.lost
