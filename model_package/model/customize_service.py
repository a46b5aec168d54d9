"""Tell which digit a picture shows.

A model package of ModelArts: the platform, or any server with its base classes, imports this file
and makes one MnistService of it. ONNX Runtime asks the network, or torch where its weights are
beside this file. It keeps to what Python 3.7 can read: preset images are old.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent

if (HERE / "model.safetensors").is_file():  # packaged for torch: network.py is beside it too
    import torch
    from safetensors.torch import load_file

    from model_service.pytorch_model_service import PTServingBaseService

    from .network import DigitNetwork

    class Engine(PTServingBaseService):
        """Asks the network by torch."""

        def __init__(self, model_name, model_path):
            self.model_name, self.model_path = model_name, model_path
            torch.set_num_threads(1)
            self.model = DigitNetwork()
            self.model.load_state_dict(load_file(str(HERE / "model.safetensors")))
            self.model.eval()

        def _inference(self, data):
            with torch.no_grad():
                return {"logits": self.model(torch.from_numpy(data)).numpy()}

else:
    try:
        from model_service.onnx_model_service import OnnxServingBaseService as Engine
    except ImportError:  # the platform's own model_service knows no ONNX
        from model_service.model_service import SingleNodeService

        class Engine(SingleNodeService):
            """Asks the network by ONNX Runtime, on top of what the platform has."""

            def __init__(self, model_name, model_path):
                import onnxruntime

                self.model_name, self.model_path = model_name, model_path
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = options.inter_op_num_threads = 1
                weights_path = next(HERE.glob("*.onnx"))
                self.session = onnxruntime.InferenceSession(
                    str(weights_path), options, providers=["CPUExecutionProvider"]
                )

            def _inference(self, data):
                return {"logits": self.session.run(["logits"], {INPUT_NAME: data})[0]}


INPUT_NAME = "images"
OUTPUT_NAME = "mnist_result"

SIDE = 28
DIGIT_SIDE = 20  # MNIST's digits fit into 20 x 20 pixels, their centre of mass on pixel (14, 14)
READ_SIDE = 200  # a JPEG is decoded no larger than needed, so that one of 4 megapixels is quick
MAX_PIXELS = 24_000_000
INK = 0.3  # of the brightest pixel: darker ones are paper, noise or the halo of compression

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS refuses earlier, and by an answer rather than a warning


class MnistService(Engine):
    """One picture in the part ``images``; the digit it shows as ``mnist_result``."""

    def _preprocess(self, data):
        """Return the picture as the model's input, (1, 1, 28, 28) float32 in [0, 1].

        Raises:
            ValueError: there is not exactly one readable picture; the client gets the sentence.
        """
        picture = normalise(read_picture(take_one_file(data)))
        return picture.astype(np.float32).reshape(1, 1, SIDE, SIDE)

    def _postprocess(self, data):
        return {OUTPUT_NAME: int(np.argmax(data["logits"][0]))}


def take_one_file(data):
    """Return the content of the one file in the part ``images``."""
    if isinstance(data, list):  # the platform's page shows a list of mappings with one key each
        data = {name: value for entry in data for name, value in entry.items()}
    files = data.get(INPUT_NAME)
    if files is None:
        found = ", ".join(f"`{name}`" for name in data) or "nothing"
        raise ValueError(f"part `{INPUT_NAME}` is missing; found {found}")
    if not isinstance(files, dict):
        raise ValueError(f"part `{INPUT_NAME}` holds no file; send one picture in it")
    if len(files) != 1:
        raise ValueError(f"part `{INPUT_NAME}` holds {len(files)} files; send one a request")
    (file,) = files.values()
    content = file.read()
    if not content:
        raise ValueError(f"part `{INPUT_NAME}` is empty; send one picture in it")
    return content


def read_picture(content):
    """Return a JPEG or PNG as grey, (height, width) uint8, the right way up.

    Raises:
        ValueError: it is no such picture, is damaged, or has more than MAX_PIXELS.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the picture is at fault
        raise ValueError(f"part `{INPUT_NAME}` is no JPEG or PNG picture") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"part `{INPUT_NAME}` has {width} x {height} pixels, accepted are {MAX_PIXELS} in all"
        )
    try:
        image.draft("L", (READ_SIDE, READ_SIDE))
        if "exif" in image.info:  # a photo that was taken sideways
            image = ImageOps.exif_transpose(image)
        return np.asarray(to_grey(image))
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises, the picture is at fault
        raise ValueError(f"part `{INPUT_NAME}` is a damaged picture: {error}") from None


def to_grey(image):
    """Return a picture of any mode as one of mode ``L``."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert("L") would clip
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("LA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        opacity = np.asarray(image)[:, :, 3] + 1e-6
        ink_is_light = np.average(np.asarray(image.convert("L")), weights=opacity) > 127
        paper = Image.new("RGBA", image.size, "black" if ink_is_light else "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("L")


def normalise(grey):
    """Return the digit as MNIST has it: (28, 28) in [0, 1], light on dark.

    A picture of 28 x 28 is taken for one of MNIST: it is inverted where needed, else left alone.

    Source: http://yann.lecun.com/exdb/mnist/
    """
    border = np.sort(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    paper = int(border[len(border) // 2])
    if 2 * paper > int(grey.min()) + int(grey.max()):
        grey, paper = 255 - grey, 255 - paper
    picture = grey / 255.0
    if picture.shape == (SIDE, SIDE):
        return picture
    return centre(stretch(fit(crop(stretch(np.clip(picture - paper / 255.0, 0, 1))))))


def stretch(picture):
    """Return the picture with its brightest pixel at 1; a black one stays black."""
    brightest = picture.max()
    return picture / brightest if brightest > 0 else picture


def crop(picture):
    """Return the smallest rectangle that holds the ink."""
    rows, columns = np.nonzero(picture >= INK)
    if not len(rows):
        return picture
    return picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def fit(picture):
    """Return the picture with its longer side at 20 pixels, its proportions kept."""
    height, width = picture.shape
    scale = DIGIT_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray((picture * 255).astype(np.uint8))
    return np.asarray(image.resize(size, Image.BOX if scale < 1 else Image.BICUBIC)) / 255.0


def centre(digit):
    """Return a black 28 x 28 picture that holds the digit, its centre of mass on pixel (14, 14)."""
    mass = digit.sum() or 1.0
    corner = []
    for axis, length in enumerate(digit.shape):
        middle = (digit.sum(axis=1 - axis) * np.arange(length)).sum() / mass
        corner.append(int(np.clip(round(SIDE / 2 - middle), 0, SIDE - length)))
    top, left = corner
    picture = np.zeros((SIDE, SIDE))
    picture[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return picture
