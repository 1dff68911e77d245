"""What the commands on finished datasets found, for people. Words from the web are cleaned before a terminal sees them."""

from collections.abc import Mapping
from typing import Any

from orchestration import show
from orchestration.reasons import MEANING
from orchestration.visible import visible

MOST_LINES = 20


def subset(found: Mapping[str, Any]) -> None:
    share = found["samples"] / found["of"] if found["of"] else 0.0
    show.facts({"subset": found["subset"], "samples": f"{found['samples']:,} of {found['of']:,} ({share:.1%})"})


def reshard(found: Mapping[str, Any]) -> None:
    told = {"bytes": show.bytes_text(found["bytes"]), "missing": f"{found['missing']:,} of the subset's uids"}
    show.facts({**found, **told, "by_source_uid": f"{found['by_source_uid']:,} named by the source table's uid"})


def adopt(found: Mapping[str, Any]) -> None:
    left_out = {**found["dropped"], **found["members_left_out"]}
    show.facts({name: value for name, value in found.items() if not isinstance(value, Mapping)})
    if left_out:
        print()
        show.rows(("left out", "count", ""), [(name, n, MEANING.get(name, "")) for name, n in left_out.items()])


def card(found: Mapping[str, Any]) -> None:
    show.facts({"page": found["html"], "markdown": found["markdown"]})


def takedown(found: Mapping[str, Any]) -> None:
    if found["dataset"] is None:
        show.facts({"removed": "no sample meets a rule; nothing was written"})
    else:
        wanted = {"dataset": found["dataset"], "manifest id": found["manifest_id"], "rows": f"{found['rows']:,}"}
        show.facts({**wanted, "removed": f"{len(found['removed']):,}"})
        print()
        show.rows(("rule", "samples"), [(visible(r, 100), n) for r, n in found["removed_by_rule"].items()][:MOST_LINES])
        print()
        lines = [(row["uid"], row["key"], visible(row["url"], 80)) for row in found["removed"][:MOST_LINES]]
        show.rows(("removed uid", "key", "url"), lines)
        _more(len(found["removed"]), "in takedown.parquet")
        folded = sum(row["folded_url"] is not None for row in found["removed"])
        if folded:
            print()
            show.facts(
                {"of them": f"{folded:,} stand for a duplicate that a rule names (folded_url in takedown.parquet)"}
            )
    if found["samples_without_hash"]:
        print()
        show.facts(
            {"not judged": f"{found['samples_without_hash']:,} samples have no SHA-256, so no hash can name them"}
        )
    unmet = found["rules_that_met_nothing"]
    if unmet:
        print()
        show.rows(("rules that met no sample",), [(visible(rule, 100),) for rule in unmet[:MOST_LINES]])
        _more(len(unmet), "in what --json prints")


def recheck(found: Mapping[str, Any]) -> None:
    show.facts({"answers": found["answers"], "samples": f"{found['samples']:,}"})
    print()
    show.rows(("now", "samples"), list(found["states"].items()))
    if found["opted_out"]:
        print()
        lines = [(row["key"], row["reason"], visible(row["evidence"], 60), visible(row["asked"], 70))
                 for row in found["opted_out"][:MOST_LINES]]  # fmt: skip
        show.rows(("key", "rule", "evidence", "asked"), lines)
        _more(len(found["opted_out"]), "in opted_out.parquet")
    if found["takedown"]:
        print()
        takedown(found["takedown"])
    elif found["opted_out"]:
        print("\nmake a dataset without them with --apply")


def _more(count: int, where: str) -> None:
    if count > MOST_LINES:
        print(f"and {count - MOST_LINES:,} more, {where}")


def why(found: Any) -> None:
    answer = show.plain(found)
    show.facts(
        {"asked": visible(answer["asked"], 200), "dataset": answer["dataset"], "answer": visible(answer["because"])}
    )
    for verdict in answer["pages"]:
        print()
        show.facts({"page": _outcome(verdict)})
    if answer["nearby"]:
        print()
        show.facts({name.replace("_", " "): _words(value) for name, value in answer["nearby"].items()})
    for pair in answer["pairs"][:MOST_LINES]:
        print()
        show.facts({"uid": pair["uid"], "url": visible(pair["url"], 160), "text": visible(pair["text"], 160)})
        lines = [line for verdict in pair["verdicts"] for line in _verdict_lines(verdict)]
        if pair["place"] is not None:
            lines.append(("dataset", "there", f"{pair['place']['key']} in {pair['place']['shard']}"))
        if not pair["verdicts"] and pair["place"] is not None:
            lines += [("", name, _words(value)) for name, value in pair["place"].items()]
        show.rows(("phase", "", ""), lines)
    _more(len(answer["pairs"]), "with --json")


def _verdict_lines(verdict: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    told = [("", name, _words(value)) for name, value in verdict["facts"].items() if name not in ("uid", "url", "text")]
    return [(verdict["phase"], verdict["outcome"], _outcome(verdict).partition(": ")[2]), *told]


def _outcome(verdict: Mapping[str, Any]) -> str:
    if verdict["outcome"] == "kept":
        return "kept"
    meaning = MEANING.get(verdict["reason"], "")
    said = f"dropped: {verdict['reason']}" + (f", {meaning}" if meaning else "")
    return said + (f" ({visible(verdict['evidence'], 160)})" if verdict["evidence"] else "")


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            " ".join(visible(str(part), 120) for part in each.values()) if isinstance(each, Mapping) else _words(each)
            for each in value
        )
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        return f"{value:,}"
    return visible(str(value), 160)
