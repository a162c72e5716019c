"""With what a run was made."""

from ._record import Record


def provenance_facts(record: Record) -> list[tuple[str, str]]:
    """Command, dates, device, seed, precision and versions, as far as they were recorded."""
    found, config = record.provenance, record.config
    # JAX names the platform and the kind of a device, which on a processor are the same word.
    devices = [" ".join(dict.fromkeys(str(device).split())) for device in found.get("devices", ())]
    entries = {
        "Command": found.get("command"),
        "Started": found.get("started"),
        "Measured": record.dataset.attrs.get("finished"),
        "Devices": ", ".join(devices),
        "Machine": found.get("machine"),
        "Seed": None if config is None else str(config.training.seed),
        "Precision": None if config is None else config.training.precision,
        "Versions": ", ".join(f"{name} {version}" for name, version in found.get("versions", {}).items()),
    }
    return [(name, str(value)) for name, value in entries.items() if value]
