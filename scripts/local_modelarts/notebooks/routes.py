"""Routes of the ModelArts API about notebook instances and images.

Paths and status codes: the operations of ``huaweicloudsdkmodelarts.v1.ModelArtsClient``.
"""

from __future__ import annotations

from typing import Any, Final

from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.notebooks.containers import Containers
from local_modelarts.notebooks.image_saving import Saving
from local_modelarts.notebooks.images import Images
from local_modelarts.notebooks.instances import Instances
from local_modelarts.notebooks.responses import image_document, notebook_document, page
from local_modelarts.platform import Platform
from local_modelarts.storage.resources import Image, Notebook

_NOTEBOOKS: Final = "/v1/{project_id}/notebooks"
_IMAGES: Final = "/v1/{project_id}/images"
_NOTEBOOKS_A_PAGE: Final = 10
_IMAGES_A_PAGE: Final = 200


def modelarts_calls(
    platform: Platform, saving: Saving, images: Images, containers: Containers
) -> Calls:
    """Return the calls of the ModelArts API."""
    instances = Instances(platform, containers)

    def document(row: Notebook) -> dict[str, Any]:
        image = platform.state.get(Image, row.image_id)
        user = platform.identity.project_id
        return notebook_document(row, image, url=containers.url(row), user=user)

    def show(row: Notebook) -> Answer:
        return Answer(document(row))

    def list_notebooks(call: Call) -> Answer:
        query = call.query
        rows = [
            row
            for row in platform.state.find(Notebook)
            if query.get("status") in (None, "", row.status)
            and query.get("name", "") in row.name
            and query.get("id") in (None, "", row.id)
            and query.get("image_id") in (None, "", row.image_id)
            and query.get("workspace_id") in (None, "", row.workspace_id)
        ]
        if query.get("sort_dir") == "ASC":
            rows.reverse()
        return Answer(page([document(row) for row in rows], query, _NOTEBOOKS_A_PAGE))

    def save(call: Call) -> Answer:
        return Answer(image_document(saving.request(call.path["id"], call.body)))

    def list_images(call: Call) -> Answer:
        documents = [image_document(row) for row in images.list(call.query)]
        return Answer(page(documents, call.query, _IMAGES_A_PAGE))

    def delete_image(call: Call) -> Answer:
        with_content = bool(call.body.get("is_force"))
        return Answer(image_document(images.delete(call.path["id"], with_content=with_content)))

    def duration(call: Call) -> str | None:
        return call.query.get("duration")

    one = f"{_NOTEBOOKS}/{{id}}"
    return [
        ("POST", _NOTEBOOKS, lambda call: show(instances.create(call.body))),
        ("GET", _NOTEBOOKS, list_notebooks),
        ("GET", f"{_NOTEBOOKS}/all", list_notebooks),
        ("GET", one, lambda call: show(instances.show(call.path["id"]))),
        ("PUT", one, lambda call: show(instances.update(call.path["id"], call.body))),
        ("DELETE", one, lambda call: show(instances.delete(call.path["id"]))),
        (
            "POST",
            f"{one}/start",
            lambda call: show(instances.start(call.path["id"], duration(call))),
        ),
        ("POST", f"{one}/stop", lambda call: show(instances.stop(call.path["id"]))),
        (
            "PATCH",
            f"{one}/lease",
            lambda call: show(instances.renew(call.path["id"], duration(call))),
        ),
        ("POST", f"{one}/create-image", save),
        ("POST", _IMAGES, lambda call: Answer(image_document(images.register(call.body)), 201)),
        ("GET", _IMAGES, list_images),
        (
            "GET",
            f"{_IMAGES}/{{id}}",
            lambda call: Answer(image_document(images.show(call.path["id"]))),
        ),
        ("DELETE", f"{_IMAGES}/{{id}}", delete_image),
    ]
