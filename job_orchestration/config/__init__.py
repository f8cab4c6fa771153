"""Read a YAML document into a config, or into the list of all its problems.

Owns nothing on the disk: `workspace_defaults` reads ``workspace.yaml``; the other modules are pure. Open
`validation` first (the checks of a config), then `yaml_reader` (bytes to a tree with positions) and
`settings` (the keys that say how a run is treated). `expressions` is the language of ``--filter``.
"""
