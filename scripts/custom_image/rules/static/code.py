"""Rules on the text of the service's code, before anything runs; adoption finds the same."""

from __future__ import annotations

from custom_image.adoption.service_code.checks import check_engine
from custom_image.adoption.service_code.modules import SERVICE_NAME, Module, parse_module
from custom_image.errors import PackageError
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import INFERENCE_CODE, MODEL_DIR

SERVICE_FILE = f"{MODEL_DIR}/{SERVICE_NAME}"


@rule(
    id="code.syntax",
    title="The service's code is Python 3",
    why="The server imports it at its start, and ends with the error that stands here.",
    severity=Severity.ERROR,
    needs=Needs.FILES,
    expected="text that Python 3 can read, without markers of a merge",
    source=INFERENCE_CODE,
    remediation="Correct the line that is named.",
    good="python3 -m py_compile customize_service.py",
    bad="<<<<<<< HEAD in the first line",
)
def syntax(context: Context) -> Finding:
    """Parse the file; nothing of it is run."""
    content = context.read_file(SERVICE_FILE)
    if content is None:
        return not_checked(f"no {SERVICE_NAME}: the image serves in its own way")
    try:
        parse_module(content, SERVICE_NAME)
    except PackageError as error:
        text, _, advice = str(error).partition("\n")
        return failed(text, remediation=advice)
    return passed(f"{len(content.splitlines())} lines")


@rule(
    id="code.engine",
    title="The service derives from a base class whose engine an image can have",
    why="Spark, Caffe, MXNet and HiAI are in preset images alone: here the import fails.",
    severity=Severity.ERROR,
    needs=Needs.FILES,
    requires=("code.syntax",),
    expected="no base class of Spark, Caffe, MXNet or HiAI",
    source=INFERENCE_CODE,
    remediation="Export the model to ONNX and derive from OnnxServingBaseService.",
    good="from model_service.onnx_model_service import OnnxServingBaseService",
    bad="from model_service.mxnet_model_service import MXNetBaseService",
)
def engine(context: Context) -> Finding:
    """Look for those names among the imports."""
    content = context.read_file(SERVICE_FILE)
    if content is None:
        return not_checked(f"no {SERVICE_NAME}: the image serves in its own way")
    try:
        check_engine(Module(SERVICE_NAME, parse_module(content, SERVICE_NAME)))
    except PackageError as error:
        text, _, advice = str(error).partition("\n")
        return failed(text, remediation=advice)
    return passed("none")
