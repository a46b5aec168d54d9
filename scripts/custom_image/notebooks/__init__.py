"""The notebooks, run headless by papermill: parameters, outputs, inside an instance."""
