"""What a picture is moved downhill on: losses, statistics of a style, targets, the objective."""
