"""The realigned model: several models that run together behind one `forward`."""
