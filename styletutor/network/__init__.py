"""VGG-19 by named layers, and the files that its weights come in."""
