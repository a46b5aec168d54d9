"""Models and real-time services put together: what is called, what answers, what goes on."""

from __future__ import annotations

from custom_image.platform_api import TOKENS
from local_modelarts.gateway.app import Gateway
from local_modelarts.http.iam_tokens import Tokens
from local_modelarts.http.messages import Calls
from local_modelarts.platform import Platform
from local_modelarts.runtime.reconciler import ServiceLoop
from local_modelarts.runtime.routing import Routing
from local_modelarts.services.backend import Services
from local_modelarts.services.models import Models
from local_modelarts.services.routes_api_keys import api_key_calls
from local_modelarts.services.routes_deployments import deployment_calls
from local_modelarts.services.routes_v1 import (
    BatchServices,
    local_calls,
    model_calls,
    service_calls,
)
from local_modelarts.services.routes_v2 import inference_calls


class RealTime:
    """The part of a platform that serves models.

    Attributes:
        gateway: the application below ``/v1/infers/`` and ``/v2/infers/``.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        routing = Routing()
        self._loop = ServiceLoop(platform, routing)
        self.models = Models(platform)
        self.services = Services(platform, self._loop.wake)
        self.gateway = Gateway(platform, routing)

    def calls(self, batches: BatchServices | None = None) -> Calls:
        """Return the signed calls."""
        return [
            *model_calls(self._platform, self.models),
            *service_calls(self._platform, self.services, batches),
            *api_key_calls(self._platform, self.services),
            *inference_calls(self._platform, self.services),
            *deployment_calls(self._platform, self.services),
        ]

    def unsigned_calls(self) -> Calls:
        """Return the calls that carry their own proof, or need none."""
        tokens = Tokens(self._platform.identity, self._platform.settings.token_s)
        return [("POST", TOKENS, tokens.create), *local_calls(self.services)]

    def start(self) -> None:
        """Adopt what a platform that was killed has left, and begin to look after services."""
        self._loop.start()

    def resume(self) -> None:
        """Go on with models that are half imported; for the platform's watch."""
        self.models.resume()

    def join(self) -> None:
        """Wait until nothing is begun any more; after the platform's jobs have stopped."""
        self._loop.join()

    def stop_all(self) -> None:
        """End every instance; for the end of the platform."""
        self._loop.stop_all()
