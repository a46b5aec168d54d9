"""Adopting: a package that ran on a preset engine becomes one for a custom image.

    config_json     encoding → lenient → config (apis, schemas): read in whatever state it is
    service_code    what customize_service.py leads to, by ast, and what can be told of it
    dependencies    blocks and requirements.txt to lines of pip
    package         all of it to an adopted package below build/
    changes         the table of what was changed, guessed or left out
    wheels          index → pins → resolution, torch_builds: what it asks for, for a base's Python;
                    shared_objects: what they need of the base

Adopting reads and never runs code, and asks no index; `wheels.fetch_wheels` does, by pip. Nothing
is imported here: the rules need the readers alone, and the resolution is slow to import.
"""
