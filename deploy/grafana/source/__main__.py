"""Write the dashboards: python -m deploy.grafana.source."""

from __future__ import annotations

from deploy.grafana.source.written import FOLDER, written


def main() -> None:
    """Write each file."""
    for name, text in written().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
