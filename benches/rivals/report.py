"""Medians, spreads and ratios as tables."""

import statistics

from cases import ALL

NETC = "netc"
QUIET = 0.3  # cores that others may use


def quartiles(values):
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def ratios(entry):
    """For each rival its time over netc's, round by round: quartiles. More than 1 means that netc is faster."""
    if NETC not in entry["engines"]:
        return {}
    own = entry["engines"][NETC]["rounds"]
    others = {name: engine for name, engine in entry["engines"].items() if name != NETC}
    return {name: quartiles([a / b for a, b in zip(engine["rounds"], own)]) for name, engine in others.items()}


def best(entry, own_builds):
    """The rival with the least ratio, and the ratio's quartiles."""
    rivals = {name: value for name, value in ratios(entry).items() if name not in own_builds}
    return min(rivals.items(), key=lambda item: item[1][1], default=None)


def tables(results, level=3):
    """All tables, as markdown that is also readable on a terminal."""
    heading = "#" * level
    text = ""
    order = {str(case): at for at, case in enumerate(ALL)}
    entries = sorted(results["entries"], key=lambda entry: (order.get(entry["case"], 99), entry["case"]))
    for threads in sorted({entry["threads"] for entry in entries}, reverse=True):
        chosen = [entry for entry in entries if entry["threads"] == threads]
        names = columns(chosen)
        plural = "thread" if threads == 1 else "threads"
        for title, body in [
            (f"Time of a run on {threads} {plural}, ms", times(chosen, names, results)),
            (f"To the first result on {threads} {plural}, ms: from the start of the process / of loading", start_times(chosen, names)),
            (f"Peak memory on {threads} {plural}, MiB", memory(chosen, names)),
        ]:
            if body:
                text += f"{heading} {title}\n\n{align(body)}\n"
    single = [entry for entry in entries if "engines" in entry]
    if single:
        text += f"{heading} Error of the output\n\n{align(errors(single))}\n"
    return text


def columns(entries):
    return list(dict.fromkeys(name for e in entries for part in ("engines", "starts") for name in e.get(part, {})))


def times(entries, names, results):
    rows = [["net", *names, "best rival / netc"]]
    for entry in entries:
        if "engines" not in entry:
            continue
        winner = best(entry, results["own_builds"])
        verdict = "–"
        if winner:
            name, (low, middle, high) = winner
            verdict = f"**{middle:.2f}** ({low:.2f}–{high:.2f}) {name}"
        rows.append([entry["case"], *(milliseconds(entry["engines"].get(name)) for name in names), verdict])
    return rows if len(rows) > 1 else []


def milliseconds(engine):
    if engine is None:
        return "–"
    low, middle, high = (digits(1e3 * value) for value in quartiles(engine["rounds"]))
    return f"{middle} ({low}–{high})"


def digits(value):
    """About three digits that count."""
    places = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{places}f}"


def start_times(entries, names):
    def cell(start):
        if start is None:
            return "–"
        return " / ".join(digits(1e3 * statistics.median(start[part])) for part in ("process", "session"))

    rows = [[e["case"], *(cell(e["starts"].get(name)) for name in names)] for e in entries if "starts" in e]
    return [["net", *names], *rows] if rows else []


def memory(entries, names):
    def cell(engine):
        return f"{engine['peak'] / 2**20:.0f}" if engine else "–"

    rows = [[e["case"], *(cell(e["engines"].get(name)) for name in names)] for e in entries if "engines" in e]
    return [["net", *names], *rows] if rows else []


def errors(entries):
    """The largest of all thread counts."""
    names = columns(entries)
    rows = {}
    for entry in entries:
        row = rows.setdefault(entry["case"], dict.fromkeys(names, 0.0))
        for name, engine in entry["engines"].items():
            row[name] = max(row[name], engine["error"])
    body = [[case, *(f"{row[name]:.1e}" if row[name] else "–" for name in names)] for case, row in rows.items()]
    return [["net", *names], *body]


def align(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def made(results):
    """One paragraph on where and when the figures come from."""
    machine, entries = results["machine"], results["entries"]
    dates = sorted({entry["date"] for entry in entries})
    commits = sorted({entry["netc"] for entry in entries})
    others = statistics.median([entry["others"] for entry in entries if "others" in entry] or [0.0])
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']} GiB of memory, {machine['system']}. {versions}. "
        f"netc at {', '.join(commits)}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}. "
        f"The rest of the machine kept {others:.1f} cores busy meanwhile (median over the rows)"
        + (": too much for these figures to be relied on.\n" if others > QUIET else ".\n")
    )


def disagreements(entry, bound):
    return {name: engine["error"] for name, engine in entry.get("engines", {}).items() if not engine["error"] <= bound}

