"""Azure's inference server. Source: https://learn.microsoft.com/azure/machine-learning/how-to-inference-server-http"""

from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse
from shared_handler import Classifier


def init():
    global classifier
    classifier = Classifier()


@rawhttp
def run(request: AMLRequest):
    digit = classifier.predict(request.files["images"].read())
    return AMLResponse({"mnist_result": digit}, 200, json_str=True)
