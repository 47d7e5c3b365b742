"""Judges other programs' rules: what refuses guests after portald, bypasses it, or takes its marks.

Everything here is a pure function of what nft (libnftables-json(5)) or iptables-save prints.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from portald.model import Alarm

Listing = Sequence[dict[str, Any]]
Chain = tuple[str, str, str]  # family, table, name

OURS = 0x30000000
"""The bits of the packet's mark that portald needs between the hooks."""
_OWNERS = {
    "docker": "Docker", "ufw": "ufw", "firewalld": "firewalld", "fw4": "OpenWrt's fw4", "mwan3": "mwan3",
    "qosify": "qosify", "sqm": "SQM", "kube": "Kubernetes", "cali": "Calico", "libvirt": "libvirt",
    "tailscale": "Tailscale", "ts-": "Tailscale",
}  # fmt: skip
_WAYS = {
    "Docker": "iptables -I DOCKER-USER -i {0} -j ACCEPT; iptables -I DOCKER-USER -o {0} -j ACCEPT",
    "ufw": "ufw route allow in on {0}",
    "firewalld": "allow forwarding from the zone of {0} by a policy (firewall-cmd --new-policy …)",
    "OpenWrt's fw4": "allow forwarding from the zone of {0} to wan (/etc/config/firewall)",
}


def alarms(listing: Listing, interfaces: Collection[str]) -> Iterator[Alarm]:
    """Judge the tables of others, as ``nft -j list table`` shows them."""
    yield from _closed(listing, interfaces)
    yield from _offloaded(listing, interfaces)
    yield from _marked(listing, interfaces)


def of_iptables(saved: str, program: str) -> Iterator[Alarm]:
    """Judge the marks that iptables-save shows; nft cannot print them."""
    seen = set()
    for line in saved.splitlines():
        rule = re.match(r"-A (\S+) .*-j (CONNMARK|MARK) (.*)", line)
        if not rule or "output" in rule[1].lower() or rule[1] in seen:
            continue
        if what := _taken(rule[2], rule[3]):
            seen.add(rule[1])
            who = owner([rule[1]]) or f"{program}, chain {rule[1]},"
            yield _taking(who, what)


def of_legacy(saved: str, program: str) -> Iterator[Alarm]:
    """Judge rules of iptables-legacy, which nft does not show at all."""
    rules = [line for line in saved.splitlines() if line.startswith("-A ") or re.match(r":\w+ DROP", line)]
    if rules:
        yield Alarm(
            f"{program} has rules as well, {len(rules)} lines: a packet must pass both firewalls",
            f"move them to nftables, or take them away ({program}-save shows them)",
        )


def leftover(listing: Listing, saved: str) -> bool:
    """Tell whether portald's other backend is still in place, in either kind of iptables."""
    chains = (item["chain"]["name"] for item in listing if "chain" in item)
    return any(name.startswith("PORTALD") for name in chains) or bool(re.search(r"^:PORTALD", saved, re.M))


def marks_hidden(listing: Listing) -> bool:
    """Tell whether there are rules whose marks only iptables-save can show."""
    return any(
        expression.get("xt", {}).get("name") in ("MARK", "CONNMARK")
        for item in listing
        for expression in item.get("rule", {}).get("expr", [])
    )


def owner(names: Iterable[str]) -> str:
    """Guess whose chains or tables these are; ``""`` if nothing tells."""
    text = " ".join(names).lower()
    return next((who for sign, who in _OWNERS.items() if re.search(rf"(^|[^a-z]){sign}", text)), "")


def _closed(listing: Listing, interfaces: Collection[str]) -> Iterator[Alarm]:
    """Look for chains after which nothing unknown is forwarded, and that do not know the guests."""
    for chain, body in _bases(listing, ("forward",)):
        rules = list(_rules(listing, chain))
        last = rules[-1]["expr"] if rules else []
        if body.get("policy") != "drop" and not (last and all(_refuses(e) or "counter" in e for e in last)):
            continue
        if any(
            _admits(rule, interfaces) for one in _reached(listing, [chain]) for rule in _rules(listing, one)
        ):
            continue
        family, table, name = chain
        names = [
            c["chain"]["name"] for c in listing if "chain" in c and _place(c["chain"])[:2] == chain[:2]
        ]
        who = owner([table]) or owner(names)
        missing = sorted(interfaces)[0]
        cure = _WAYS.get(who) or (
            f'nft insert rule {family} {table} {name} iifname "{missing}" accept; '
            f'nft insert rule {family} {table} {name} oifname "{missing}" accept'
        )
        yield Alarm(
            f"chain {name} of table {family} {table}{f' ({who})' if who else ''} refuses "
            "what it does not know, so guests who are online get nowhere",
            cure.format(missing),
        )


def _offloaded(listing: Listing, interfaces: Collection[str]) -> Iterator[Alarm]:
    for item in listing:
        body = item.get("flowtable", {})
        devices = body.get("dev", [])
        covered = {devices} if isinstance(devices, str) else set(devices)
        if found := sorted(covered & set(interfaces)):
            yield Alarm(
                f"flowtable {body['name']} of table {body['family']} {body['table']} covers "
                f"{', '.join(found)}: what it carries is neither counted nor cut",
                "switch flow offloading off for guests (OpenWrt: flow_offloading '0')",
            )


def _marked(listing: Listing, interfaces: Collection[str]) -> Iterator[Alarm]:
    bases = [chain for chain, _ in _bases(listing, ("prerouting", "forward", "postrouting"))]
    seen = set()
    for chain in _reached(listing, bases):
        for rule in _rules(listing, chain):
            if _elsewhere(rule, interfaces):
                continue
            for expression in rule["expr"]:
                key = expression.get("mangle", {}).get("key", {})
                value = expression.get("mangle", {}).get("value")
                if key == {"ct": {"key": "mark"}}:
                    what = "the connections' mark"
                elif key == {"meta": {"key": "mark"}} and not _spares(value):
                    what = "all of the packets' mark"
                else:
                    continue
                if (chain, what) not in seen:
                    seen.add((chain, what))
                    who = owner([chain[1], chain[2]])
                    yield _taking(
                        f"table {chain[0]} {chain[1]}{f' ({who})' if who else ''}, chain {chain[2]},", what
                    )


def _taking(who: str, what: str) -> Alarm:
    return Alarm(
        f"{who} sets {what}, which portald needs for its sessions: "
        "guests may lose access or be counted wrongly",
        "leave guests out of it, or use another mark of its kind"
        if "packets" in what
        else "leave guests' connections out of it",
    )


def _taken(target: str, options: str) -> str:
    """Return what an iptables target takes of the marks, ``""`` if nothing that matters."""
    words = dict(re.findall(r"--(\S+)(?: (0x[0-9a-f]+(?:/0x[0-9a-f]+)?))?", options))
    if target == "CONNMARK" and "restore-mark" not in words:
        return "the connections' mark"
    if target == "CONNMARK":
        mask = int(words.get("nfmask") or "0xffffffff", 16)
    else:
        value, _, masked = (words.get("set-xmark") or "0x0/0x0").partition("/")
        mask = int(masked or "0xffffffff", 16) | int(value, 16)
    return "all of the packets' mark" if mask & OURS else ""


def _spares(value: Any) -> bool:
    """Tell whether a new packet mark has our bits of the old one."""
    if value == {"meta": {"key": "mark"}}:
        return True
    if isinstance(value, dict):
        (operation, operands), *_ = value.items()
        if operation in ("|", "^", "&") and isinstance(operands, list) and _spares(operands[0]):
            numbers = [n for n in operands[1:] if isinstance(n, int)]
            return len(numbers) == len(operands) - 1 and all(
                n & OURS == (OURS if operation == "&" else 0) for n in numbers
            )
    return False


def _place(body: dict[str, Any]) -> Chain:
    return body["family"], body["table"], body["chain"] if "chain" in body else body["name"]


def _bases(listing: Listing, hooks: Collection[str]) -> Iterator[tuple[Chain, dict[str, Any]]]:
    for item in listing:
        body = item.get("chain", {})
        if body.get("hook") in hooks and body["family"] in ("ip", "ip6", "inet"):
            yield _place(body), body


def _rules(listing: Listing, chain: Chain) -> Iterator[dict[str, Any]]:
    for item in listing:
        if "rule" in item and _place(item["rule"]) == chain:
            yield item["rule"]


def _reached(listing: Listing, bases: Iterable[Chain]) -> list[Chain]:
    """Return these chains and all they lead to."""
    found = list(bases)
    for chain in found:  # it grows on the way
        for rule in _rules(listing, chain):
            found += [c for name in _targets(rule["expr"]) if (c := (*chain[:2], name)) not in found]
    return found


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _targets(one)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("jump", "goto"):
                yield inner["target"]
            else:
                yield from _targets(inner)


def _refuses(expression: dict[str, Any]) -> bool:
    return "drop" in expression or "reject" in expression


def _admits(rule: dict[str, Any], interfaces: Collection[str]) -> bool:
    """Tell whether a rule accepts everything, or does something of its own with guests."""
    names = _names(rule)
    if names is None:
        return all("accept" in e or "counter" in e for e in rule["expr"]) and "accept" in rule["expr"][-1]
    return bool(names & set(interfaces)) and not _refuses(rule["expr"][-1])


def _elsewhere(rule: dict[str, Any], interfaces: Collection[str]) -> bool:
    """Tell whether a rule is only for packets from or to other interfaces."""
    names = _names(rule)
    return names is not None and not names & set(interfaces)


def _names(rule: dict[str, Any]) -> set[str] | None:
    """Return the interfaces that a rule is for, ``None`` if it does not say."""
    for expression in rule["expr"]:
        match = expression.get("match", {})
        if match.get("op") == "==" and match.get("left") in _INTERFACE:
            right = match["right"]
            inner = right.get("set", []) if isinstance(right, dict) else [right]
            return {name for name in inner if isinstance(name, str)}
    return None


_INTERFACE = [{"meta": {"key": key}} for key in ("iifname", "oifname", "iif", "oif")]
