"""The report as text: a line a row, with what PyTorch did beside it and whether the target was met."""


def number(value):
    if value is None:
        return "?"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def ratio(row, peer):
    """Ours over the peer's; of what is better if less, such as time, the inverse."""
    ours, theirs = row["ours"], row["peers"][peer]
    if not ours or not theirs:
        return None
    return theirs / ours if row.get("less_is_better") else ours / theirs


def verdict(row):
    """What the row's target says: of a peer, at least or at most so many times."""
    target = row.get("target")
    if not target:
        return ""
    value = ratio(row, target["peer"]) if target["peer"] in row["peers"] else None
    if value is None:
        return "  target open"
    least = "least" in target
    met = value >= target["least"] if least else value <= target["most"]
    wanted = f">= {target['least']}" if least else f"<= {target['most']}"
    return f"  target {wanted} x {target['peer']}: {'MET' if met else 'MISSED'}"


def line(row, rehearsal):
    if "ours" not in row:
        return f"  {row['what']}: {row['says']}"
    peers = [f"{peer} {number(value)}" + (f" ({ratio(row, peer):.2f} x)" if ratio(row, peer) else "")
             for peer, value in row["peers"].items()]
    said = "  ".join(peers) + ("" if rehearsal else verdict(row))
    return f"  {row['what']:<46} {number(row['ours']):>9} {row['unit']:<9} {said}".rstrip()


def text(report):
    machine = report["machine"]
    lines = [f"fusemix on {machine.get('card') or machine.get('adapter', {}).get('name') or 'no GPU'}"]
    if machine["rehearsal"]:
        lines.append("A REHEARSAL: small sizes on whatever is there. These are no measurements.")
    lines += [f"  {key}: {value}" for key, value in machine.items() if key not in ("rehearsal", "all_adapters")]
    lines.append("Ratios are how many times as good as PyTorch, those of memory how many times as much.")
    for name, section in report["sections"].items():
        shown = [row for row in section["rows"] if not row.get("quiet")]
        lines += ["", f"{name} ({section['seconds']} s)", *(line(row, machine["rehearsal"]) for row in shown)]
        if section["failure"]:
            lines += [f"  FAILED: {part}" if at == 0 else f"    {part}"
                      for at, part in enumerate(section["failure"].splitlines())]
    lines += ["", f"{report['seconds']} s in all"]
    return "\n".join(lines) + "\n"
