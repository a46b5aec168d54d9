"""Serve a ModelArts model package over HTTP.

``python3 -m model_service`` reads ``config.json`` and ``customize_service.py`` below ``MODEL_PATH``
and serves them. The path of a request, top to bottom::

    supervisor            binds the port, starts and replaces workers, owns SIGTERM
    ├── sizing            how many workers there is room for
    ├── model_process     the model in a process of its own, if that is asked for
    └── worker            one process, one copy of the model
        ├── uvicorn_server | gunicorn_server     bytes on a socket; threads, time-outs, closing
        └── application   a request in, a response out; no input or output of its own
            ├── bodies    bytes to what ``_preprocess`` gets
            ├── streams   answers that are made in parts
            └── model     the user's service, and whether it can answer

The base classes of inference code keep the import names of the platform:
``model_service.pytorch_model_service.PTServingBaseService`` and its siblings.
"""
