"""The first Job Orchestration's search for parameters, by searches whose trials are ordinary runs."""
