"""Author, verify and rehearse ModelArts custom images.

The chain of nouns, each made by one function:

    Digits -> TrainedModel -> ModelPackage -> BuildContext -> BuiltImage -> Report

Nothing heavy is imported here (torch, the Docker SDK, matplotlib), so that
``import custom_image`` and ``custom-image --help`` stay instant: import what you need from the
module that owns it, for example ``from custom_image.mnist import load_mnist``.
"""

__version__ = "0.1.0"
