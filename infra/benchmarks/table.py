"""Write the table of README.md from results/*.json: `python infra/benchmarks/table.py`; `--check` only compares."""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE / "README.md"
START, END = "<!-- table.py writes from here -->", "<!-- to here -->"


def table() -> str:
    """One section for each result file, in the order of their names."""
    lines: list[str] = []
    for path in sorted((HERE / "results").glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        machine, versions = result["machine"], result["versions"]
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines += [
            f"### {result['name']}",
            "",
            f"`{result['command']}` on {result['data']}.",
            f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} {machine['arch']}; {told}.",
            "",
            *(facts(result) if "headings" in result else comparison(result)),
            "",
        ]
    return "\n".join(lines)


def comparison(result: dict[str, Any]) -> list[str]:
    """Ours beside the peer's."""
    return [
        "| case | metric | unit | ours | peer | | ours is |",
        "|---|---|---|---:|---:|---|---:|",
        *(
            f"| {row['case']} | {row['metric']} | {row['unit']} | {figure(row['ours'])} | {figure(row['peer'])} |"
            f" {row['peer_name']} | {row['ratio']:.2f}x |"
            for row in result["rows"]
        ),
    ]


def facts(result: dict[str, Any]) -> list[str]:
    """A table under headings of its own."""
    rows = [[figure(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in result["rows"]]
    return [
        "| " + " | ".join(result["headings"]) + " |",
        "|" + "---|" * len(result["headings"]),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def figure(value: float) -> str:
    """Three digits that count: 88,400 and 0.123."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def updated(text: str) -> str:
    """README.md's text with its table made anew."""
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{START}\n\n{table()}\n{END}{after}"


def main() -> int:
    text = README.read_text("utf-8")
    wanted = updated(text)
    if "--check" in sys.argv:
        if text != wanted:
            print(
                "infra/benchmarks/README.md is older than results/: run python infra/benchmarks/table.py",
                file=sys.stderr,
            )
        return int(text != wanted)
    README.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
