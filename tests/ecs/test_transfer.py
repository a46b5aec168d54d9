"""What is sent to a server is what it lacks, whatever the files are called and however it ends."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
import threading

import pytest
from ecs_machine import wait_for

from custom_image.ecs.job import Job
from custom_image.ecs.transfer.manifest import CHUNK_BYTES, Manifest
from custom_image.ecs.transfer.send import STORE, Sent, send
from custom_image.errors import ConnectionLost, Unavailable, UsageError

HOSTILE = (
    "-rf",
    "new\nline",
    'it\'s "$(touch owned)"',
    "`id`",
    "ünï 7️",
    " blank ",
    "*",
    "a\\b",
)


@pytest.fixture
def key() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def folder(tmp_path):
    context = tmp_path / "context"
    (context / "files").mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY files/ /files/\n")
    (context / "files" / "a.txt").write_text("a")
    return context


def build(connection, folder, key) -> Sent:
    """Bring a context there and build its image, of no base at all."""
    manifest = Manifest.read(folder)
    sent = send(connection, manifest, key)
    job = Job.start(
        connection,
        "build.sh",
        key,
        [f"transfer:{key}", 1, "none"],
        limit_s=60,
        tree=manifest.tree(f"contexts/{key}/new"),
    )
    list(job.follow())
    assert job.code == 0, job.log
    return sent


def files_there(server, key) -> dict[str, bytes]:
    """Return what is in the context on the server."""
    archive = server.popen("tar", "-c", "-C", f"/root/{STORE}/contexts/{key}/tree", ".", stdout=-1)
    with tarfile.open(fileobj=io.BytesIO(archive.communicate(timeout=60)[0])) as found:
        return {m.name[2:]: found.extractfile(m).read() for m in found if not m.isdir()}


def files_here(folder) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_hostile_names_arrive_as_they_are_and_run_nothing(connection, ecs_server, folder, key):
    for name in HOSTILE:
        (folder / "files" / name).write_text(name)
    (folder / "files" / "-d\n").mkdir()
    (folder / "files" / "-d\n" / "x").write_text("deep")

    build(connection, folder, key)

    assert files_there(ecs_server, key) == files_here(folder)
    assert ecs_server.run("find / -xdev -name owned") == ""
    with ecs_server.docker() as client:
        image = client.containers.create(f"transfer:{key}", command="none")
        stream, _ = image.get_archive("/files")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            names = {member.name.removeprefix("files/") for member in archive}
        image.remove()
    assert {*HOSTILE, "-d\n/x"} <= names


def test_a_second_build_after_an_edit_sends_kilobytes(connection, folder, key):
    (folder / "files" / "weights").write_bytes(secrets.token_bytes(20_000_000))
    build(connection, folder, key)
    before = connection.traffic.copy()

    (folder / "files" / "a.txt").write_text("b")
    sent = build(connection, folder, key)

    assert sent == Sent(files=1, bytes=1, resumed_bytes=0, context_bytes=sent.context_bytes)
    assert connection.traffic.sent - before.sent < 30_000
    assert connection.traffic.received - before.received < 30_000


def test_of_an_edited_large_file_only_the_new_chunk_travels(connection, ecs_server, folder, key):
    weights = folder / "files" / "weights"
    weights.write_bytes(secrets.token_bytes(3 * CHUNK_BYTES + 5))
    build(connection, folder, key)

    with weights.open("r+b") as file:
        file.seek(CHUNK_BYTES + 1)
        file.write(b"edited")
    sent = build(connection, folder, key)

    assert sent.bytes == CHUNK_BYTES
    assert files_there(ecs_server, key) == files_here(folder)


def test_files_alike_travel_once_and_stay_apart(connection, ecs_server, folder, key):
    content = secrets.token_bytes(2 * CHUNK_BYTES)
    for name in ("one", "two"):
        (folder / "files" / name).write_bytes(content)

    sent = build(connection, folder, key)

    assert sent.bytes < 2 * CHUNK_BYTES + 1000
    assert files_there(ecs_server, key) == files_here(folder)
    tree = f"/root/{STORE}/contexts/{key}/tree/files"
    one, two = ecs_server.run(f"stat -c %i {tree}/one {tree}/two").split()
    assert one != two, "builders would take them for hard links"


def test_what_no_tree_uses_any_more_is_removed(connection, ecs_server, folder, key):
    (folder / "files" / "weights").write_bytes(secrets.token_bytes(1_000_000))
    build(connection, folder, key)
    (old,) = [o.id for o in Manifest.read(folder).objects.values() if o.size_bytes == 1_000_000]

    (folder / "files" / "weights").write_bytes(b"small")
    build(connection, folder, key)

    assert old not in ecs_server.run(f"ls /root/{STORE}/objects /root/{STORE}/chunks")


def test_a_cut_in_mid_file_is_gone_on_with(connect, ecs_server, folder, key):
    (folder / "files" / "weights").write_bytes(secrets.token_bytes(12 * CHUNK_BYTES))
    manifest = Manifest.read(folder)
    part = f"/root/{STORE}/uploads/{key}/*.chunks"
    ecs_server.limit_rate(100_000)  # 8 s for all of it
    failures = []

    def send_until_cut() -> None:
        try:
            send(connect(keep_alive_s=2), manifest, key)
        except ConnectionLost as error:
            failures.append(error)

    sender = threading.Thread(target=send_until_cut)
    sender.start()
    wait_for(lambda: int(ecs_server.run(f"cat {part} 2>/dev/null | wc -l")) >= 2, "two chunks")
    ecs_server.cut()
    sender.join(timeout=60)
    ecs_server.restore()

    assert failures, "the upload should have broken off"
    connection = connect()
    sent = build(connection, folder, key)
    assert sent.resumed_bytes >= 2 * CHUNK_BYTES
    assert sent.bytes + sent.resumed_bytes <= sent.context_bytes
    assert files_there(ecs_server, key) == files_here(folder)


def test_a_full_disk_is_told_before_and_while_it_is_filled(connect, start_server, folder, tmp_path):
    (tmp_path / "server").mkdir()
    (folder / "files" / "weights").write_bytes(secrets.token_bytes(60_000_000))
    with start_server(tmp_path / "server", disk_gb=0.06, with_engine=False) as small:
        connection = connect(small)
        manifest = Manifest.read(folder)
        with pytest.raises(Unavailable, match=r"too small a disk.*nothing was sent"):
            send(connection, manifest, "ab", small.free_bytes())

        with pytest.raises(Unavailable, match="disk is full"):
            send(connection, manifest, "ab")

        assert small.run(f"find /root/{STORE} -type f -size +1M") == ""
        connection.close()


def test_a_file_that_changes_while_it_is_sent_is_refused(connection, folder, key):
    (folder / "files" / "a.txt").write_text(key)
    manifest = Manifest.read(folder)
    (folder / "files" / "a.txt").write_text("changed")

    with pytest.raises(UsageError, match="changed while it was sent"):
        send(connection, manifest, key)


def test_hashes_are_kept_until_a_file_changes(folder, tmp_path):
    cache = tmp_path / "hashes.json"
    first = chunks_by_name(Manifest.read(folder, cache))
    cache.write_text(cache.read_text().replace(first["Dockerfile"], "0" * 64))
    cache.write_text(cache.read_text().replace(first["a.txt"], "0" * 64))
    os.utime(folder / "files" / "a.txt", ns=(0, 0))

    second = chunks_by_name(Manifest.read(folder, cache))

    assert second == {"Dockerfile": "0" * 64, "a.txt": first["a.txt"]}


def chunks_by_name(manifest: Manifest) -> dict[str, str]:
    return {found.path.name: found.chunks[0] for found in manifest.objects.values()}


def test_links_and_devices_are_refused(folder):
    (folder / "link").symlink_to("Dockerfile")

    with pytest.raises(UsageError, match="a link or no regular file"):
        Manifest.read(folder)
