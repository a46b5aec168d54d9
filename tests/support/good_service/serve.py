"""A small service that keeps the platform's rules; tests break it one line at a time."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "60"))
EXIT_SECONDS = float(os.environ.get("EXIT_SECONDS", "85"))
KEEP_ALIVE_SECONDS = 210
LARGEST_BODY_BYTES = 12 * 2**20
EXIT_CODE = 0
health = 200


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = KEEP_ALIVE_SECONDS
    wbufsize = -1

    def do_GET(self):
        if self.path == "/health":
            self.answer(health, '{"health": "true"}')
        else:
            self.answer(404, '{"error": "there is no such page"}')

    def do_POST(self):
        if int(self.headers["Content-Length"]) > LARGEST_BODY_BYTES:
            self.close_connection = True
            self.answer(413, '{"error": "the body is too large"}')
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_whole = b"\xff\xd8" in body and b"\xff\xd9" in body
        if b'name="images"' in body and is_whole:
            self.answer(200, '{"mnist_result": 7}')
        else:
            self.answer(400, '{"error": "part `images` is no picture"}')

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
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
    time.sleep((EXIT_SECONDS - DRAIN_SECONDS) / 4)
    os._exit(EXIT_CODE)


def stop(*_):
    threading.Thread(target=drain).start()


address = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))
server = Server(address, Handler)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
