"""Real-time and batch services: deploy, update, ask, delete, on either generation of the API."""
