"""Known Python packages: facts without asking an index, kept by hand.

An import that nothing declares is looked up here and nowhere else: a name that is guessed may be
somebody else's package (https://medium.com/@alex.birsan/dependency-confusion-4a5d60fec610).
"""

from __future__ import annotations

from typing import Final

# The distributions that bring a module; the first is the one that is added. What the preset images
# of the platform have, and what public packages import most besides.
DISTRIBUTIONS: Final[dict[str, tuple[str, ...]]] = {
    "numpy": ("numpy",),
    "PIL": ("Pillow", "pillow-simd"),
    "cv2": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "yaml": ("PyYAML",),
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "torchaudio": ("torchaudio",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tf-nightly"),
    "keras": ("keras", "tensorflow", "tensorflow-cpu"),
    "mindspore": ("mindspore",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime",),
    "scipy": ("scipy",),
    "pandas": ("pandas",),
    "sklearn": ("scikit-learn",),
    "skimage": ("scikit-image",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "joblib": ("joblib", "scikit-learn"),
    "matplotlib": ("matplotlib",),
    "h5py": ("h5py",),
    "requests": ("requests",),
    "six": ("six",),
    "tqdm": ("tqdm",),
    "imageio": ("imageio",),
    "lxml": ("lxml",),
    "bs4": ("beautifulsoup4",),
    "dateutil": ("python-dateutil",),
    "pytz": ("pytz",),
    "attr": ("attrs",),
    "google.protobuf": ("protobuf",),
    "psutil": ("psutil",),
    "networkx": ("networkx",),
    "numba": ("numba",),
    "shapely": ("shapely",),
    "pyclipper": ("pyclipper",),
    "Polygon": ("Polygon3",),
    "pycocotools": ("pycocotools",),
    "albumentations": ("albumentations",),
    "imgaug": ("imgaug",),
    "timm": ("timm",),
    "einops": ("einops",),
    "thop": ("thop",),
    "easydict": ("easydict",),
    "yacs": ("yacs",),
    "addict": ("addict",),
    "transformers": ("transformers",),
    "tokenizers": ("tokenizers", "transformers"),
    "sentencepiece": ("sentencepiece",),
    "safetensors": ("safetensors",),
    "huggingface_hub": ("huggingface-hub",),
    "jieba": ("jieba",),
    "nltk": ("nltk",),
    "gensim": ("gensim",),
    "librosa": ("librosa",),
    "soundfile": ("soundfile",),
    "pydub": ("pydub",),
    "statsmodels": ("statsmodels",),
    "sqlalchemy": ("SQLAlchemy",),
    "packaging": ("packaging",),
    "setuptools": ("setuptools",),
    "pkg_resources": ("setuptools",),
    "typing_extensions": ("typing-extensions",),
    "termcolor": ("termcolor",),
    "tabulate": ("tabulate",),
    "cloudpickle": ("cloudpickle",),
    "dill": ("dill",),
    "pydicom": ("pydicom",),
    "SimpleITK": ("SimpleITK",),
    "nibabel": ("nibabel",),
    "openpyxl": ("openpyxl",),
    "xlrd": ("xlrd",),
    "flask": ("Flask",),
    "ultralytics": ("ultralytics",),
}

# Names that later versions of a package no longer have: module, attribute, and what still has it.
# numpy.bool was away from 1.24 to 1.26.
REMOVED_NAMES: Final = {
    **{("numpy", name): "<1.24" for name in ("int", "float", "object", "str", "complex")},
    **{
        ("numpy", name): "<2"
        for name in (
            *("float_", "complex_", "unicode_", "string_", "Inf", "Infinity", "infty", "NaN"),
            *("PINF", "NINF", "product", "cumproduct", "sometrue", "alltrue", "asfarray"),
            *("row_stack_", "msort", "cast", "find_common_type", "mat", "obj2sctype"),
        )
    },
    ("numpy", "bool"): "!=1.24.*,!=1.25.*,!=1.26.*",
    ("PIL.Image", "ANTIALIAS"): "<10",
    ("PIL.Image", "LINEAR"): "<10",
    ("PIL.Image", "CUBIC"): "<10",
    ("tensorflow", "Session"): "<2",
    ("tensorflow", "placeholder"): "<2",
    ("tensorflow", "get_default_graph"): "<2",
    ("tensorflow", "ConfigProto"): "<2",
    ("tensorflow.contrib", ""): "<2",
    ("sklearn.externals", "joblib"): "<0.23",
    ("sklearn.externals.joblib", ""): "<0.23",
    ("scipy.misc", "imread"): "<1.2",
    ("scipy.misc", "imresize"): "<1.3",
    ("pandas", "Panel"): "<0.25",
}
# Methods that are gone, with the import that tells whose they are.
REMOVED_METHODS: Final = {
    ("PIL.ImageDraw", "textsize"): "<10",
    ("PIL.ImageDraw", "multiline_textsize"): "<10",
    ("PIL.ImageFont", "getsize"): "<10",
    ("PIL.ImageFont", "getoffset"): "<10",
}
# Since 6.0 it asks for a Loader: https://github.com/yaml/pyyaml/blob/main/CHANGES
YAML_LOADS_ALONE: Final = "<6"
# Names of the standard library, with the first Python that has them no longer.
REMOVED_FROM_PYTHON: Final = {
    **{
        ("collections", name): (3, 10)
        for name in (
            *("Iterable", "Mapping", "MutableMapping", "Sequence", "Callable", "Iterator"),
            *("Hashable", "Sized", "Container", "Set", "MutableSet", "MutableSequence"),
        )
    },
    ("time", "clock"): (3, 8),
    ("fractions", "gcd"): (3, 9),
    ("inspect", "getargspec"): (3, 11),
    ("asyncio", "coroutine"): (3, 11),
    ("imp", ""): (3, 12),
    ("asynchat", ""): (3, 12),
    ("asyncore", ""): (3, 12),
    ("distutils", ""): (3, 12),
    ("cgi", ""): (3, 13),
    ("imghdr", ""): (3, 13),
    ("sndhdr", ""): (3, 13),
    ("audioop", ""): (3, 13),
    ("pipes", ""): (3, 13),
    ("telnetlib", ""): (3, 13),
    ("crypt", ""): (3, 13),
}

# Wheels that were compiled against numpy 1 before this version and say nothing of it themselves.
NEEDS_NUMPY_2_FROM: Final = {
    "torch": "2.3",
    "torchvision": "0.18",
    "tensorflow": "2.18",
    "mindspore": "2.7",
    "opencv-python": "4.10",
    "opencv-python-headless": "4.10",
    "opencv-contrib-python": "4.10",
    "opencv-contrib-python-headless": "4.10",
    "onnxruntime": "1.19",
    "onnx": "1.16.2",
    "pandas": "2.2.2",
    "scipy": "1.13",
    "scikit-learn": "1.4.2",
    "scikit-image": "0.23",
    "matplotlib": "3.8.4",
    "numba": "0.60",
    "h5py": "3.11",
    "shapely": "2.0.4",
    "pycocotools": "2.0.8",
    "gensim": "4.3.3",
    "statsmodels": "0.14.2",
    "xgboost": "2.1",
    "lightgbm": "4.4",
}
# What belongs together: the torchvision of a torch. Source: https://github.com/pytorch/vision#installation
TORCHVISION_OF: Final = {
    "1.4": "0.5", "1.5": "0.6", "1.6": "0.7", "1.7": "0.8", "1.8": "0.9", "1.9": "0.10",
    "1.10": "0.11", "1.11": "0.12", "1.12": "0.13", "1.13": "0.14", "2.0": "0.15", "2.1": "0.16",
    "2.2": "0.17", "2.3": "0.18", "2.4": "0.19", "2.5": "0.20",
}  # fmt: skip
# torch.load took any pickle up to here: https://pytorch.org/docs/stable/notes/serialization.html
TORCH_LOADS_PICKLES: Final = "<2.6"


def brings(module: str, distribution: str) -> bool:
    """Tell whether a distribution, by its canonical name, is known to bring a module."""
    known = DISTRIBUTIONS.get(module, (module,))
    return any(name.lower().replace("_", "-") == distribution for name in known)
