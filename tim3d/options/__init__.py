"""Arguments of the commands, one function a command, as `tim3d.cli.main` gives them to their parsers."""
