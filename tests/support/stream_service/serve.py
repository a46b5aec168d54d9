"""A small service that answers in streams and keeps the rules; tests break it line by line."""

import json
import os
import signal
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "60"))
EXIT_SECONDS = float(os.environ.get("EXIT_SECONDS", "85"))
WORDS = ("你好", "once", "upon", "a", "time", "鸟")
PAUSE_SECONDS = 0.1
CONTENT_TYPE = "text/event-stream;charset=UTF-8"
LAST = b"data: [DONE]\n\n"
lock = threading.Lock()
open_streams = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 210

    def do_GET(self):
        if self.path == "/health":
            self.answer(200, {"health": "true"})
        else:
            self.answer(404, {"error": "there is no such page"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > 12 * 2**20:
            self.close_connection = True
            self.answer(413, {"error": "the body is too large"})
            return
        try:
            request = json.loads(self.rfile.read(length))
            if not isinstance(request["prompt"], str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            self.answer(400, {"error": "expected JSON with the member prompt"})
            return
        if self.path != "/v1/chat/completions":
            self.answer(404, {"error": "there is no such page"})
        elif request.get("stream"):
            self.stream()
        else:
            self.answer(200, {"id": uuid.uuid4().hex, "choices": [{"text": "".join(WORDS)}]})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self):
        global open_streams
        with lock:
            open_streams += 1
        try:
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in self.events():
                self.chunk(event)
            self.chunk(LAST)
            self.chunk(b"")
        except OSError:
            self.close_connection = True  # the client left
        finally:
            with lock:
                open_streams -= 1

    def events(self):
        for word in WORDS:
            time.sleep(PAUSE_SECONDS)
            delta = {"object": "chat.completion.chunk", "choices": [{"delta": word}]}
            yield b"data: " + json.dumps(delta, ensure_ascii=False).encode() + b"\n\n"

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, form, *values):
        sys.stdout.write(form % values + "\n")
        sys.stdout.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


def drain():
    time.sleep(DRAIN_SECONDS)
    server.socket.close()
    time.sleep((EXIT_SECONDS - DRAIN_SECONDS) / 2)
    while open_streams:
        time.sleep(0.05)
    os._exit(0)


def stop(*_):
    threading.Thread(target=drain).start()


server = Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))), Handler)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
