"""`nnrun serve`: a run's networks behind HTTP, for rows as `nnrun predict` takes them.

It may import `predicting` and what that may. FastAPI and uvicorn are imported where they are used.
"""
