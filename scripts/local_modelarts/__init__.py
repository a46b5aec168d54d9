"""A local ModelArts: the part of its APIs that this project's workflow uses, on a real engine.

``python -m local_modelarts --folder build/platform`` serves the ModelArts and SWR calls that the
official SDK makes, keeps its state in SQLite, runs notebook instances as containers and images in
a real registry. What is documented and what is inferred stands beside each behaviour in README.md.
"""
