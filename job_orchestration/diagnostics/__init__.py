"""Errors and problems as values, and their wording: suggestions and durations.

Owns nothing on the disk and imports no other package. Open `errors` first (exceptions for users), then
`problems` (what is wrong at which line of a file). Pure.
"""
