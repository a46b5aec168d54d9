"""Images as files, read as streams: nothing is unpacked, and a stranger's archive can do no harm.

Archive            a `docker save` or OCI archive, or an OCI layout folder
read_saved         an engine's answer to `docker save`, while it arrives
read_files         a folder, as if it were a layer
    └─ Contents    what one pass found: layers, files as a container sees them, waste, faults
         └─ Reader looks for something in every file; the rules bring theirs
"""

from custom_image.image_archive.archive import Archive, is_oci_layout, read_saved
from custom_image.image_archive.contents import Contents, Layer, Reader, Sink, read_files
from custom_image.image_archive.folder import FolderFiles
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.tar import Entry, Fault, Kind
from custom_image.image_archive.tree import Waste

__all__ = [
    "LIMITS",
    "Archive",
    "Contents",
    "Entry",
    "Fault",
    "FolderFiles",
    "Kind",
    "Layer",
    "Limits",
    "Reader",
    "Sink",
    "Waste",
    "is_oci_layout",
    "read_files",
    "read_saved",
]
