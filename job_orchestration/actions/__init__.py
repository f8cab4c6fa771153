"""One module per verb; no parsing of arguments, no printing."""
