"""An instance, and the image saved from it, as something that can be verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from custom_image.cloud import SavedImage
from custom_image.engines import ImageFacts, Instance, StartOptions
from custom_image.engines.process.engine import ProcessEngine
from custom_image.rules import Needs
from custom_image.verification.targets import ImageTarget, ProcessTarget

if TYPE_CHECKING:
    from custom_image.image_saving.instance import NotebookInstance

BOOT_COMMAND: Final = tuple(SavedImage.start_command.split())


class InstanceTarget(ProcessTarget):
    """An instance, or its stand-in, under verification: as its boot file would start it."""

    kind = "an instance"

    def __init__(self, instance: NotebookInstance) -> None:
        super().__init__(instance.home, ProcessEngine(), instance.name)
        self._instance = instance
        # Reading all files would read `work` too, which is in no image. The audit does that part.
        self.offers = ProcessTarget.offers & ~Needs.CONTENTS

    def mentions(self, variables: set[str]) -> bool:
        """Look for the names in the server and its boot file alone."""
        infer = self._instance.infer
        files = [infer / "run.sh", *infer.glob("model_service/**/*.py")]
        text = "".join(file.read_text(errors="replace") for file in files if file.is_file())
        return all(variable in text for variable in variables)

    def start(self, options: StartOptions) -> Instance:
        """Start the boot file of the instance."""
        return self._instance.start(options)


class SavedTarget(ImageTarget):
    """A saved image under verification: started as the model's start command says.

    Its own command is that of a notebook instance, JupyterLab.
    """

    def image(self) -> ImageFacts:
        """Return the metadata, with the start command of the model in place of the image's."""
        return replace(super().image(), command=BOOT_COMMAND, shell_form=False)

    def start(self, options: StartOptions) -> Instance:
        """Start the boot file."""
        return super().start(replace(options, command=options.command or BOOT_COMMAND))
