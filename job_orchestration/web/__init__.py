"""The HTTP API: jobs are submitted, watched and steered over HTTP, as `Workspace` does it from Python.

It owns ``Misc/serve/``, which holds the token of its clients; all else it does through `api` and `commands`.
Open `app` first, which lists the routes, then `guard`, which every request passes, and `submission_rules`,
which says what may come from the network. FastAPI and uvicorn (extra ``[web]``) are imported here only.
"""
