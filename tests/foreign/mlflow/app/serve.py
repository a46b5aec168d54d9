"""mlflow, a model from code. Source: https://mlflow.org/docs/latest/ml/model/models-from-code/"""

import base64

import mlflow
from shared_handler import Classifier


class Digits(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.classifier = Classifier()

    def predict(self, context, model_input, params=None):
        return [self.classifier.predict(base64.b64decode(text)) for text in model_input["images"]]


mlflow.models.set_model(Digits())
