"""Answers that are streams of server-sent events: how they begin, come and end.

An api streams where config.json declares answers of that type, where they are of it, or where its
request has the member `stream` and the answer to that looks like events.
"""

from __future__ import annotations

import re
from typing import Final

from custom_image.drills.streams import LEAVERS, leave, read_through_sigterm
from custom_image.engines import StartOptions
from custom_image.model_config import Api
from custom_image.model_config.remarks import EVENT_STREAM
from custom_image.probing.http import Answer, Request
from custom_image.probing.sample_requests import sample_of
from custom_image.probing.streams import Stream, declares_stream, read_stream, stream_request
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.rules.service.http import PATIENCE_S
from custom_image.specification import SPECIFICATIONS, Source

STREAMS: Final = Source(
    "Accessing a Real-Time Service Using Server-Sent Events",
    "https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0124.html",
)
SERVED: Final = frozenset({Profile.V1, Profile.ENGINE, Profile.V2})
AFTER: Final = ("health.ready", "api.answers")
NO_STREAM: Final = "no api declares or sends a stream of events"
LONG_ENOUGH_S: Final = 0.5
"""A stream that is over sooner may come in one piece: nobody could tell the difference."""
SETTLE_S: Final = 2.0
"""How long after its client left a stream may go on costing anything."""
BUSY: Final = 0.5
"""Of one CPU: less may be anything."""
MARGIN_S: Final = 1.0


@rule(
    id="stream.content-type",
    title="A stream says that it is one",
    why="By the type a client knows that events follow, and a proxy that it must not collect them.",
    severity=Severity.WARNING,
    profiles=SERVED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=AFTER,
    expected=f"{EVENT_STREAM};charset=UTF-8",
    source=STREAMS,
    remediation=f"Answer with Content-Type: {EVENT_STREAM};charset=UTF-8.",
    good='StreamingResponse(events(), media_type="text/event-stream")',
    bad="events that are sent as text/plain",
)
def content_type(context: Context) -> Finding:
    """Compare the header of what looks like events."""
    found = _streams(context)
    if not found:
        return not_checked(NO_STREAM)
    for request, stream in found:
        name, _, rest = stream.content_type.partition(";")
        charset = re.search(r'charset="?([^\s";]+)', rest, re.IGNORECASE)
        is_utf8 = charset is None or charset[1].lower().replace("-", "") == "utf8"
        if name.strip().lower() != EVENT_STREAM or not is_utf8:
            return failed(stream.content_type or "none", f"{request}: {stream}")
    return passed(found[0][1].content_type, _evidence(found))


@rule(
    id="stream.parts",
    title="A stream arrives in parts, each when it is made",
    why="In one piece at the end it is an answer that is late, and not a stream.",
    severity=Severity.ERROR,
    profiles=SERVED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=AFTER,
    expected="the first part long before the last",
    source=STREAMS,
    remediation="Send each event when it is made, in chunks; behind nginx proxy_buffering off or "
    "the header X-Accel-Buffering: no; no compression and no middleware that reads the body.",
    good="yield each event as the model makes it",
    bad="nginx in front, as it comes: it collects the events",
)
def parts(context: Context) -> Finding:
    """Compare when the first and the last part arrived with how long the whole of it took."""
    found = _streams(context)
    if not found:
        return not_checked(NO_STREAM)
    seen: list[str] = []
    for request, stream in found:
        last_s = stream.parts[-1][0] if stream.parts else stream.end_s
        spread = (last_s - stream.first_s) / last_s if last_s else 0.0
        if len(stream.events) < 3 or (spread < 0.1 and last_s < LONG_ENOUGH_S):
            continue
        seen.append(f"the first part after {stream.first_s:.2f} s, the last after {last_s:.2f} s")
        if spread < 0.1:
            text = f"{len(stream.events)} events in one piece after {last_s:.2f} s"
            return failed(text, f"{request}: {stream}")
    if not seen:
        return not_checked("the sample's stream is over too soon to tell", _evidence(found))
    return passed(seen[0], _evidence(found))


@rule(
    id="stream.text",
    title="Each event of a stream is whole text in UTF-8",
    why="Half a character cannot be shown: clients see a replacement sign, or stop.",
    severity=Severity.ERROR,
    profiles=SERVED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=AFTER,
    expected="UTF-8, no character split between two events",
    source=STREAMS,
    remediation="Decode tokens incrementally, and hold half a character back until it is whole.",
    good='codecs.getincrementaldecoder("utf-8")',
    bad="one event for each token of bytes, where a character of Chinese is three of them",
)
def text(context: Context) -> Finding:
    """Decode each event by itself; a sign that the whole answer has too is the model's own."""
    found = _streams(context)
    if not found:
        return not_checked(NO_STREAM)
    answers: list[tuple[Api, Answer]] = context.once("apis", list)
    is_own = any(_has_sign(answer.body) for _, answer in answers if not _is_stream(answer))
    for request, stream in found:
        for number, event in enumerate(stream.events, 1):
            if not _is_utf8(event) or (_has_sign(event) and not is_own):
                shown = event.decode(errors="replace")
                return failed(f"event {number} holds half a character", f"{request}: {shown[:200]}")
    return passed(f"{sum(len(stream.events) for _, stream in found)} events", _evidence(found))


@rule(
    id="stream.end",
    title="A stream ends, and says so",
    why="A client that is cut off cannot tell an answer from a half of one, and asks again.",
    severity=Severity.ERROR,
    profiles=SERVED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=AFTER,
    expected="the last event whole, the last chunk sent; [DONE] where a chat is answered",
    source=STREAMS,
    remediation="End each event with an empty line, close the body as HTTP does, and end a chat "
    "with data: [DONE].",
    good="data: [DONE], an empty line, the last chunk",
    bad="the connection is closed in the middle",
)
def end(context: Context) -> Finding:
    """Look at the end of each stream: of the body, of its last event, of a chat."""
    found = _streams(context)
    if not found:
        return not_checked(NO_STREAM)
    for request, stream in found:
        shown = f"{request}: {stream}\nit ends: {stream.body[-200:].decode(errors='replace')}"
        if not stream.is_whole:
            return failed(f"cut off: {stream.error}", shown)
        if not re.search(rb"(\r\n\r\n|\n\n|\r\r)\s*$", stream.body):
            return failed("its last event has no end, clients leave it out", shown)
        if b"chat.completion.chunk" in stream.body and b"data: [DONE]" not in stream.events[-1]:
            return failed("a chat without data: [DONE]", shown)
    return passed(f"after {found[0][1].end_s:.2f} s", _evidence(found))


@rule(
    id="stream.length",
    title="A stream is over before the gateway cuts it off",
    why="The limit of an answer is that of the whole stream: a long one is cut in the middle.",
    severity=Severity.ERROR,
    profiles=frozenset({Profile.V1, Profile.ENGINE}),
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=AFTER,
    limit_field="latency",
    remediation="Limit the length (max_tokens), make the model faster, or deploy to Inference 2.0, "
    "whose request timeout can be set.",
    good="max_tokens: 512, over after 20 s",
    bad="a stream of 60 s",
)
def length(context: Context) -> Finding:
    """Time the whole of each stream."""
    found = _streams(context)
    if not found:
        return not_checked(NO_STREAM)
    longest = max((stream for _, stream in found), key=lambda stream: stream.end_s)
    is_short = longest.end_s <= context.edition.latency.value
    return (passed if is_short else failed)(f"{longest.end_s:.1f} s", _evidence(found))


@rule(
    id="stream.disconnect",
    title="A stream whose client left costs nothing any more",
    why="Clients leave all the time; a model that goes on for them has no room for those who stay.",
    severity=Severity.WARNING,
    profiles=SERVED,
    needs=Needs.INSTANCE | Needs.CONFIG,
    requires=AFTER,
    expected=f"CPU falls within {SETTLE_S:g} s, the next request is as quick",
    source=STREAMS,
    remediation="Stop when sending fails or the request says disconnected: "
    "await request.is_disconnected(), GeneratorExit in a generator, engine.abort(id).",
    good="the generator is closed when its client is gone",
    bad="a thread that makes all tokens into a queue",
)
def disconnect(context: Context) -> Finding:
    """Leave some streams after their first part; look at the CPU, and at the next one's start."""
    found = [(request, stream) for request, stream in _streams(context) if _lasts(stream)]
    if not found:
        lasting = "no stream of the sample lasts long enough to be left"
        return not_checked(lasting if _streams(context) else NO_STREAM)
    request, _ = found[0]
    with context.start() as service:
        assert service.instance is not None  # INSTANCE is needed, so there is one
        left = leave(
            *(service.instance, service.url, request, PATIENCE_S),
            settle_s=SETTLE_S,
            pause=context.pause,
        )
    following = left.following
    evidence = (
        f"first part: {left.alone.first_s:.2f} s alone, {following.first_s:.2f} s behind {LEAVERS} "
        f"streams whose clients left\nCPU: {_percent(left.idle_cpu)} before, "
        f"{_percent(left.cpu)} {SETTLE_S:g} s after they left"
    )
    if not following.parts:
        return failed(f"the next request got {following}", evidence)
    if left.idle_cpu is not None and left.cpu is not None and left.cpu > left.idle_cpu + BUSY:
        return failed(f"{_percent(left.cpu)} of a CPU {SETTLE_S:g} s later", evidence)
    if following.first_s > 3 * left.alone.first_s + MARGIN_S:
        return failed(f"the next request waited {following.first_s:.1f} s", evidence)
    return passed(f"the next one begins after {following.first_s:.2f} s", evidence)


@rule(
    id="stream.sigterm",
    title="A stream that runs when SIGTERM comes is finished",
    why="At each upgrade the streams of that moment end in the middle of a sentence.",
    severity=Severity.ERROR,
    profiles=SERVED,
    needs=Needs.INSTANCE | Needs.CONFIG,
    requires=(*AFTER, "stream.end"),
    expected="whole, as without it",
    source=SPECIFICATIONS,
    remediation="Let the drain wait for open streams: uvicorn --timeout-graceful-shutdown, a count "
    "of open requests; never os._exit in the handler.",
    good="the server waits for its open responses",
    bad="tasks are cancelled when the signal comes",
)
def in_flight(context: Context) -> Finding:
    """Send SIGTERM behind the first part of a stream, and read it to its end."""
    longest_s = context.waits.exit_s - MARGIN_S
    found = [(request, stream) for request, stream in _streams(context) if _lasts(stream)]
    if not found:
        lasting = "no stream of the sample lasts long enough to meet a signal"
        return not_checked(lasting if _streams(context) else NO_STREAM)
    request, whole = min(found, key=lambda pair: pair[1].end_s)
    if whole.end_s > longest_s:
        return not_checked(f"a stream of {whole.end_s:.1f} s is longer than the wait for the end")
    with context.start(StartOptions(environment=context.waits.environment)) as service:
        assert service.instance is not None  # INSTANCE is needed, so there is one
        asked = service.instance, service.url, request
        stream = read_through_sigterm(*asked, longest_s, MARGIN_S)
    if stream is None:
        return failed(f"not over {longest_s:g} s after SIGTERM")
    evidence = f"{request}: {stream}\nwithout SIGTERM: {whole}"
    if not stream.is_whole:
        return failed(f"cut off after {stream.end_s:.1f} s: {stream.error}", evidence)
    if len(stream.events) < len(whole.events) / 2:
        return failed(f"{len(stream.events)} events, {len(whole.events)} without it", evidence)
    return passed(f"whole: {len(stream.events)} events", evidence)


def _streams(context: Context) -> list[tuple[Request, Stream]]:
    """Return the streams of all apis, each read once for all the rules here."""

    def read() -> list[tuple[Request, Stream]]:
        found = []
        for index, api in enumerate(context.config.apis):
            request, is_declared = stream_request(api), declares_stream(api)
            if not (request or is_declared or _answered_with_events(context, index)):
                continue
            request = request or sample_of(api)
            context.pause(0)
            stream = read_stream(context.service.url, request, PATIENCE_S)
            if 200 <= stream.status < 300 and (is_declared or stream.is_events):
                found.append((request, stream))
        if found:
            context.facts["streams"] = [
                {"request": str(r), "events": len(s.events), "first_s": s.first_s, "end_s": s.end_s}
                for r, s in found
            ]
        return found

    return context.once("streams", read)


def _answered_with_events(context: Context, index: int) -> bool:
    """Tell whether the answer to the sample of an api, kept by its rules, looks like a stream."""
    answers: list[tuple[Api, Answer]] = context.once("apis", list)
    if index >= len(answers):
        return False
    return _is_stream(answers[index][1])


def _is_stream(answer: Answer) -> bool:
    return Stream(answer.status, dict(answer.headers), ((0.0, answer.body),)).is_events


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_sign(content: bytes) -> bool:
    """Tell whether a text holds the sign for what was no character, also as JSON may spell it."""
    text = content.decode(errors="replace")
    return "\ufffd" in text or "\\ufffd" in text.lower()


def _lasts(stream: Stream) -> bool:
    """Tell whether a client can leave between the first part and the last."""
    return len(stream.parts) > 1 and stream.parts[-1][0] - stream.first_s > LONG_ENOUGH_S / 2


def _evidence(found: list[tuple[Request, Stream]]) -> str:
    return "\n".join(f"{request}: {stream}" for request, stream in found)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
