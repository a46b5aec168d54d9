"""Models and services of both generations of the API: requests, responses, routes."""
