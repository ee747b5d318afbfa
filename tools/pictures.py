# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the pictures of the documentation from the demo's lab, into docs/pictures. Needs root.

    sudo .venv/bin/python tools/pictures.py

demo.svg is what `make demo` prints, lab.svg its network with the addresses and answers of this run, and inspect.svg the
drawing of an inspection of the machine. The lab sees no networks and processes of others, so another one may be up.
"""

from __future__ import annotations

import io
import json
import os
import platform
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 100
OWN = "PICTURES_NETWORK"
# Sequences other than those of colours, which a picture cannot show.
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTfhlnsu]|\x1b\][^\x07]*\x07|\x1b[=>]")
INK, MUTED, OPEN, CLOSED = "#1d2733", "#566270", "#16794c", "#a5182b"
TERMINAL = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, "DejaVu Sans Mono", monospace; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def run(*argv: str, check: bool = True) -> str:
    """The output of a command."""
    result = subprocess.run(argv, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if check and result.returncode:
        sys.exit("%s failed:\n%s" % (" ".join(argv), result.stdout))
    return result.stdout


def in_own_network() -> None:
    """Start this program again where it sees no networks, processes or host name of others."""
    if OWN not in os.environ:
        options = ["--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        again = subprocess.run(
            ["unshare", *options, sys.executable, *sys.argv], check=False, env={**os.environ, OWN: "1"}
        )
        sys.exit(again.returncode)
    run("hostname", "laptop")
    Path("/run/netns").mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    run("ip", "link", "set", "lo", "up")


def in_terminal(*argv: str) -> str:
    """What a command prints on a terminal, with its colours."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "50"}
    shown = []

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.append(data)
        return data

    before = dict(os.environ)
    os.environ.update(environment)
    try:
        status = pty.spawn(["stty", "cols", str(COLUMNS)], read) or pty.spawn(list(argv), read)
    finally:
        os.environ.clear()
        os.environ.update(before)
    text = b"".join(shown).decode()
    if status:
        sys.exit("%s failed:\n%s" % (" ".join(argv), text))
    return text


def settled(text: str) -> str:
    """The lines of an output as they look in the end, up to the things to try."""
    rows = [MOVES.sub("", row.rstrip("\r")).rpartition("\r")[2] for row in text.split("\n")]
    return "\n".join(rows).partition("\nBreak it:")[0].rstrip()


def terminal_picture(command: str, output: str) -> str:
    """A terminal with a command and its output, as SVG without fonts from other hosts."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ " + command, style="bold"))
    console.print(Text.from_ansi(output))
    return console.export_svg(title=command, code_format=TERMINAL, unique_id="demo")


def addresses(lab: str, host: str) -> dict[str, list[str]]:
    """The addresses of each link of a host, IPv4 only."""
    links = json.loads(run("ip", "-n", "%s-%s" % (lab, host), "-json", "-4", "address", "show"))
    return {
        link["ifname"]: ["%(local)s/%(prefixlen)d" % one for one in link["addr_info"]]
        for link in links
        if link["ifname"] != "lo"
    }


def said(lab: str, host: str, *argv: str) -> str:
    """The last line that a command prints in a host of the lab."""
    text = run("ip", "netns", "exec", "%s-%s" % (lab, host), *argv, check=False).strip()
    return text.splitlines()[-1] if text else ""


def text(x: int, y: int, words: str, **attributes: str) -> str:
    more = "".join(' %s="%s"' % (name.replace("_", "-"), value) for name, value in attributes.items())
    return '<text x="%d" y="%d"%s>%s</text>' % (x, y, more, escape(words))


def box(x: int, title: str, lines: list[str]) -> str:
    """A host, 240 wide."""
    parts = ['<rect x="%d" y="60" width="240" height="118" rx="8" fill="#f5f7f9" stroke="#7ba0c9"/>' % x]
    parts.append(text(x + 16, 86, title, font_weight="bold"))
    for number, line in enumerate(lines):
        colour = {"fill": OPEN, "font_weight": "bold"} if "VIP" in line else {}
        parts.append(text(x + 16, 110 + 22 * number, line, **colour))
    return "".join(parts)


def arrow(path: str, colour: str, **attributes: str) -> str:
    more = "".join(' %s="%s"' % (name.replace("_", "-"), value) for name, value in attributes.items())
    return '<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>' % (path, colour, more)


def lab_picture(inventory: Path) -> str:
    """The hosts of the lab with their addresses, and what a client gets from the VIP and from the pod."""
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text())["lab"]["children"]
    client, router, pod = (next(iter(hosts[group]["hosts"])) for group in ("clients", "routers", "pods"))
    lab = "lab"
    links: dict[str, dict[str, list[str]]] = {name: addresses(lab, name) for name in (client, router, pod)}
    (vip,) = [one.partition("/")[0] for found in links[router].values() for one in found if one.endswith("/32")]
    (target,) = [one.partition("/")[0] for one in links[pod]["eth0"]]
    reached = said(lab, client, "curl", "--silent", "--max-time", "5", "http://" + vip)
    blocked = "0 received" in run(
        *("ip", "netns", "exec", "%s-%s" % (lab, client), "ping", "-c", "2", "-W", "1", target), check=False
    )
    if not (reached and blocked):
        sys.exit("the lab does not show what the picture says")
    inside = [
        "%s %s%s" % (link, one.partition("/")[0], " (VIP)" if one.endswith("/32") else "")
        for link, found in links[router].items()
        for one in found
    ]
    return "".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 270" role="img" fill="%s" '
            'font-family="system-ui, &quot;DejaVu Sans&quot;, sans-serif" font-size="14">' % INK,
            '<rect width="900" height="270" rx="10" fill="#ffffff"/>',
            *(arrow("M%d 119h80" % x, "#7f8c9a") for x in (250, 570)),
            text(260, 110, "VLAN 10", fill=MUTED),
            text(580, 110, "VLAN 20", fill=MUTED),
            box(10, "client " + client, ["eth0 " + links[client]["eth0"][0].partition("/")[0]]),
            box(330, "router", inside),
            box(650, "pod " + pod, ["eth0 %s" % target, "HTTP on port 80"]),
            arrow("M120 178V208H420V186M414 192l6 -8l6 8M480 178V208H770V186M764 192l6 -8l6 8", OPEN),
            text(130, 230, "curl http://%s" % vip, fill=OPEN),
            text(130, 252, reached, fill=OPEN, font_weight="bold"),
            text(490, 230, "to %s:80" % target, fill=OPEN),
            arrow("M120 60V32H436", CLOSED, stroke_dasharray="6 4"),
            arrow("M441 25l14 14m0 -14l-14 14", CLOSED),
            text(130, 22, "ping %s" % target, fill=CLOSED),
            text(466, 37, "blocked on the router", fill=CLOSED),
            "</svg>\n",
        ]
    )


def inspection_picture(page: str) -> str:
    """The drawing of an inspection page with its style, without the version of this machine's kernel."""
    (style,) = re.findall(r"(?s)<style>.*?</style>", page)
    ((opening, drawing),) = re.findall(r"(?s)(<svg\b[^>]*>)(.*?</svg>)", page)
    return "%s%s%s\n" % (opening, style, drawing.replace("Linux " + platform.release(), "Linux"))


def main() -> None:
    in_own_network()
    folder = tempfile.mkdtemp(prefix="pictures-")
    machine = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "inspect_folder": folder}
    inventory = ROOT / "inventories" / "lab"
    try:
        output = in_terminal("make", "--no-print-directory", "demo")
        (PICTURES / "demo.svg").write_text(terminal_picture("make demo", settled(output)))
        (PICTURES / "lab.svg").write_text(lab_picture(inventory))
        run(".venv/bin/ansible-playbook", "-i", "laptop,", "playbooks/inspect.yml", "-e", json.dumps(machine))
        page = (Path(folder) / "index.html").read_text()
        (PICTURES / "inspect.svg").write_text(inspection_picture(page))
    finally:
        run("make", "--no-print-directory", "demo-down", check=False)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
