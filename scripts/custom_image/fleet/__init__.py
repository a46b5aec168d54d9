"""Many images, on one machine or on many: the unit of work is a command of this tool.

    commands ──▶ unit (runs one where an engine is) ──▶ executors (here, or Dask's workers)
    images.txt, an organization ──▶ image_list ──▶ verification ──▶ matrix, page
    folders.txt, notebooks.txt ──▶ task_list ──▶ tasks
    files for one image ──▶ batch (shards of a manifest)

Argument lists and JSON are all that travels. Credentials of registries are the workers' own.
"""
