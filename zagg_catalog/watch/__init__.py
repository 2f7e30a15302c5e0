"""Watch a product: poll its source, and decide which events of its cycles to emit."""
