"""The same stream by LitServe: `lit_serve_stream.py PORT WORKERS PARTS PART_S`."""

import sys
import time

import litserve


class Speaker(litserve.LitAPI):
    """Parts with a wait before each."""

    def setup(self, device):
        pass

    def decode_request(self, request):
        return request

    def predict(self, data):
        for number in range(int(sys.argv[3])):
            time.sleep(float(sys.argv[4]))
            yield {"n": number}

    def encode_response(self, parts):
        for part in parts:
            yield f"data: {part}\n\n"


if __name__ == "__main__":
    api = Speaker(api_path="/", stream=True)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
