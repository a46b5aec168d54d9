"""The example of the page on ECS, with a model behind it.

Source: https://support.huaweicloud.com/docker-modelarts/modelarts_23_0270.html
"""

from flask import Flask, request
from shared_handler import Classifier

app = Flask(__name__)
classifier = Classifier()


@app.route("/greet", methods=["POST"])
def say_hello_func():
    return {"response": f"Hello, {request.get_json(force=True)['name']}!"}


@app.route("/goodbye", methods=["GET"])
def say_goodbye_func():
    return "\nGoodbye!\n"


@app.route("/", methods=["POST"])
def default_func():
    return {"mnist_result": classifier.predict(request.files["images"].read())}


# host must be "0.0.0.0", port must be 8080
if __name__ == "__main__":
    app.run(host="0.0.0.0", port=8080)
