from flask import Flask, jsonify, request
from shared_handler import Classifier

app = Flask(__name__)
classifier = Classifier()


@app.post("/")
def predict():
    return jsonify(mnist_result=classifier.predict(request.files["images"].read()))


@app.get("/health")
def health():
    return jsonify(health="true")
