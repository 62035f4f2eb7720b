"""Stand-ins for attention whose own kernel cannot load, on torch's operators. Loaded only when something has failed."""
