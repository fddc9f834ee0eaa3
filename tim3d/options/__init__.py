"""Arguments of the commands, one function a command, as `tim3d.cli` gives them to their parsers."""
