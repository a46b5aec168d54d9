import mlflow

mlflow.pyfunc.save_model("model", python_model="serve.py", pip_requirements=[])
