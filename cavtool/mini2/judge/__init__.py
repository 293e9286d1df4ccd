"""The judge: reads off a clip of the toy world what it shows and how it moves."""
