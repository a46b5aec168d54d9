"""From an instance to a saved image, by the official SDK, on a real engine and registry."""

from __future__ import annotations

import subprocess

import huaweicloudsdkswr.v2 as swr
import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import Cloud, wait_for

MARKER = "written-in-the-instance"


@pytest.fixture(scope="module")
def worked_on(rehearsal) -> tuple[str, str]:
    """An instance in which somebody worked, and the image saved from it."""
    cloud = rehearsal.up()
    notebook_id = cloud.running_notebook(name="worked-on")
    cloud.execute(
        notebook_id,
        f"echo {MARKER} | tee /home/ma-user/infer/kept /home/ma-user/work/lost /cache/lost",
    )
    image = cloud.save(notebook_id, name="path")
    assert image.status == "CREATING"
    assert cloud.notebook(notebook_id).status == "SNAPSHOTTING"
    assert cloud.saved(image.id).status == "ACTIVE"
    yield notebook_id, image.id
    rehearsal.up().remove(notebook_id)


def test_a_saved_image_stands_in_the_registry_and_can_be_pulled_with_a_swr_login(
    rehearsal, worked_on
) -> None:
    cloud, image = rehearsal.up(), rehearsal.up().image(worked_on[1])
    tag = cloud.show_tag("path", "1.0")
    login = cloud.swr.create_secret(swr.CreateSecretRequest(projectname="local"))
    user, password = login.x_swr_dockerlogin.split()[3], login.x_swr_dockerlogin.split()[5]

    docker("login", "-u", user, "--password-stdin", cloud.platform.registry, stdin=password)
    try:
        docker("rmi", "--force", image.swr_path)
        pulled = docker("pull", image.swr_path)
    finally:
        docker("logout", cloud.platform.registry)

    assert f"Digest: {tag.digest}" in pulled
    assert image.size == tag.size > 10**7
    assert (image.origin, image.type, image.namespace) == ("IMAGE_SAVE", "DEDICATED", "team")
    assert cloud.notebook(worked_on[0]).status == "RUNNING"


def test_without_a_login_nothing_can_be_pulled(rehearsal, worked_on) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        docker("pull", rehearsal.up().image(worked_on[1]).swr_path)

    assert "denied" in refused.value.stderr or "unauthorized" in refused.value.stderr


def test_an_instance_of_the_saved_image_has_what_is_kept_and_lacks_what_is_lost(
    cloud: Cloud, worked_on
) -> None:
    notebook_id = cloud.running_notebook(name="second", image_id=worked_on[1])

    assert cloud.execute(notebook_id, "cat /home/ma-user/infer/kept").strip() == MARKER
    assert cloud.execute(notebook_id, "ls -A /home/ma-user/work /cache | grep lost; true") == ""


def test_no_credential_and_no_label_of_the_platform_is_in_a_saved_image(
    rehearsal, worked_on
) -> None:
    cloud = rehearsal.up()
    inside = cloud.execute(worked_on[0], "cat ~/.huaweicloud/credentials")
    archive = subprocess.run(
        ["docker", "save", cloud.image(worked_on[1]).swr_path], check=True, capture_output=True
    ).stdout

    assert cloud.secret_key in inside, "the instance was given none, so this test proves nothing"
    assert MARKER.encode() in archive, "layers cannot be searched like this"
    for secret in (cloud.secret_key, cloud.access_key, cloud.platform.project_id):
        assert secret.encode() not in archive
    assert rehearsal.folder.name.encode() not in archive
    labels = docker("inspect", "-f", "{{json .Config.Labels}}", cloud.image(worked_on[1]).swr_path)
    assert worked_on[0] not in labels


def test_the_sdk_finds_the_credentials_of_an_instance_where_it_looks_by_itself(
    rehearsal, worked_on
) -> None:
    inside = rehearsal.up().execute(
        worked_on[0], "stat -c '%a %U %n' ~/.huaweicloud/credentials; cat ~/.huaweicloud/endpoint"
    )

    assert inside.splitlines() == [
        "600 ma-user /home/ma-user/.huaweicloud/credentials",
        rehearsal.up().platform.gateway_endpoint,
    ]


def test_an_instance_has_the_token_that_the_api_shows_and_no_saved_image_has(
    rehearsal, worked_on
) -> None:
    cloud = rehearsal.up()
    token = cloud.notebook(worked_on[0]).token
    inside = cloud.execute(worked_on[0], "cd ~/.huaweicloud; stat -c '%a %U' token; cat token")
    find = ("find", "/home/ma-user", "-path", "*huaweicloud*")
    saved = docker("run", "--rm", cloud.image(worked_on[1]).swr_path, *find)

    assert inside.split() == ["600", "ma-user", token]
    assert len(token) >= 32
    assert saved.split() == ["/home/ma-user/.huaweicloud"], "the place that it was mounted at"


def test_an_instance_reaches_the_api_through_the_gateway_of_its_network(
    rehearsal, worked_on
) -> None:
    script = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).status)"
    url = f"{rehearsal.up().platform.gateway_endpoint}/local/status"

    assert rehearsal.up().execute(worked_on[0], f"python3 -c '{script}' {url}").strip() == "200"


def test_stopping_keeps_work_and_loses_everything_else(cloud: Cloud) -> None:
    notebook_id = cloud.running_notebook()
    cloud.execute(notebook_id, "touch ~/work/kept ~/infer/lost /cache/lost")

    cloud.stop(notebook_id)
    assert cloud.settled(notebook_id).status == "STOPPED"
    cloud.start(notebook_id)
    assert cloud.settled(notebook_id).status == "RUNNING"

    assert cloud.execute(notebook_id, "ls ~/work ~/infer /cache").split() == [
        "/cache:",
        "/home/ma-user/infer:",
        "/home/ma-user/work:",
        "kept",
    ]


def test_an_instance_whose_lease_ends_is_stopped(cloud: Cloud) -> None:
    notebook_id = cloud.running_notebook(lease=modelarts.LeaseReq(duration=1000, type="TIMING"))

    wait_for(lambda: cloud.notebook(notebook_id).status == "STOPPED", "the instance is stopped")


def test_an_instance_whose_container_dies_is_in_error_and_can_be_started_again(
    cloud: Cloud,
) -> None:
    notebook_id = cloud.running_notebook()
    docker("kill", f"local-modelarts-notebook-{notebook_id}")

    wait_for(lambda: cloud.notebook(notebook_id).status == "ERROR", "the death is noticed")
    assert cloud.notebook(notebook_id).fail_reason == "the container of the instance exited 137"
    cloud.start(notebook_id)
    assert cloud.settled(notebook_id).status == "RUNNING"


def test_a_stopped_instance_changes_its_image(cloud: Cloud, worked_on) -> None:
    notebook_id = cloud.running_notebook()
    request = modelarts.UpdateNotebookRequest(
        id=notebook_id, body=modelarts.NotebookUpdateRequest(image_id=worked_on[1], name="other")
    )

    with pytest.raises(ClientRequestException) as refused:
        cloud.modelarts.update_notebook(request)
    assert refused.value.error_code == "ModelArts.6305"
    cloud.stop(notebook_id)
    cloud.settled(notebook_id)
    assert cloud.modelarts.update_notebook(request).image.id == worked_on[1]
    cloud.start(notebook_id)
    cloud.settled(notebook_id)

    assert cloud.execute(notebook_id, "cat ~/infer/kept").strip() == MARKER
    assert cloud.notebook(notebook_id).name == "other"


def test_a_deleted_instance_leaves_nothing_behind(cloud: Cloud) -> None:
    notebook_id = cloud.running_notebook()
    with pytest.raises(ClientRequestException) as refused:
        cloud.delete(notebook_id)
    cloud.stop(notebook_id)
    cloud.settled(notebook_id)
    cloud.delete(notebook_id)

    wait_for(lambda: notebook_id not in [n.id for n in cloud.notebooks()], "it is deleted")
    assert refused.value.error_code == "ModelArts.6304"
    assert notebook_id not in docker("ps", "-a", "--format", "{{.Names}}")
    assert notebook_id not in docker("volume", "ls", "-q")


def docker(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, input=stdin
    )
    return done.stdout
