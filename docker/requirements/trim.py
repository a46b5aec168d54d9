"""Leave out of installed Python packages what no service imports: tests, headers, tools, symbols.

python3 trim.py /opt/serving

It runs in the image's build, with what a base image has: Python and nothing else.
"""

import shutil
import struct
import sys
from pathlib import Path

# Folders and files, as patterns below the folder of packages; those of other engines are no fault.
# Only of packages that are locked beside this file: what others are made of is theirs to know
# (scipy imports numpy.f2py, scikit-image reads its *.pyi).
LEFT_OUT = (
    # tools that make, convert and test models, and the C library beside the Python module (35 MB)
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/datasets",
    "onnxruntime/capi/libonnxruntime.so.*",
    "gevent/tests",
    "gevent/testing",
    "numpy/distutils",
    # torch's own tests (83 MB), and what C++ programs are compiled with (62 MB)
    "torch/test",
    "torch/include",
    "torch/share",
    "torch/lib/*test.so",
    "torch/lib/libaoti_custom_ops.so",
    "torch/lib/libbackend_with_compiler.so",
    "torch/bin/*",  # C++ tests and protoc (50 MB)
    "torch/testing/_internal/py312_intrinsics.py",  # tests in a syntax that is newer than images
    "torchgen/packaged",
    "sympy/**/tests",
    "sympy/**/benchmarks",
    "mpmath/tests",
    "networkx/**/tests",
    "numpy/**/tests",
    # sources and declarations of extensions
    *(
        f"{package}/**/*.{suffix}"
        for package in ("greenlet", "httptools", "numpy", "torch", "torchgen", "uvloop")
        for suffix in ("pyi", "pyx", "pxd", "c", "h", "a")
    ),
)
KEPT = ("torch/bin/torch_shm_manager",)  # torch checks on import that it is there
# A fifth of these is symbol tables, which only debuggers and linkers read (99 MB). Of torch alone:
# repaired libraries, such as numpy's OpenBLAS, are laid out otherwise.
SYMBOLS_LEFT_OUT = ("torch/lib/libtorch_*.so",)


def main(folder):
    """Trim the packages in a folder."""
    kept = {folder / name for name in KEPT}
    for pattern in LEFT_OUT:
        for path in sorted(set(folder.glob(pattern)) - kept):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    for pattern in SYMBOLS_LEFT_OUT:
        for path in sorted(folder.glob(pattern)):
            drop_symbols(path)


def drop_symbols(path):
    """Cut a shared library behind what is loaded of it, where linkers put symbol tables.

    What a process maps stays byte for byte where it is. Other files than ELF of 64 bits, and those
    with something else behind the last segment's end than sections, are left alone.

    Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
    """
    with path.open("r+b") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return
        segments_at, sections_at = struct.unpack_from("<QQ", header, 32)
        segment_size, segments = struct.unpack_from("<HH", header, 54)
        file.seek(segments_at)
        table = file.read(segment_size * segments)
        ends = [segments_at + len(table)]
        for start in range(0, len(table), segment_size):
            offset, _, _, size = struct.unpack_from("<QQQQ", table, start + 8)
            ends.append(offset + size)
        if sections_at < max(ends):
            return
        file.seek(40)  # the file offset of the section headers
        file.write(bytes(8))
        file.seek(58)  # their size, their number, and which of them holds their names
        file.write(bytes(6))
        file.truncate(max(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
