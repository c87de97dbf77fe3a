"""One TOML file per preset; read by engine/settings.py."""
