"""Values: frozen dataclasses and enums. Nothing here does I/O or knows what time it is."""
