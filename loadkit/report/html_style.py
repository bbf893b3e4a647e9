"""The style of a page, and its script, which nothing on it depends on."""

from __future__ import annotations

import base64
import hashlib

from loadkit.report.svg.ink import rules, variables

__all__ = ["SCRIPT", "policy", "style"]

_STYLE = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:80rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif}
body{color:var(--text);background:var(--page)}
h1{font-size:1.35rem;line-height:1.25;margin:0 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:1.8rem 0 .6rem;border-bottom:1px solid var(--grid)}
h3{font-size:1rem;margin:0 0 .2rem}
p,ul{margin:.4rem 0}
li,p,td.t,th.t,.t td,code{overflow-wrap:anywhere}
code{font-family:ui-monospace,monospace;font-size:.92em;background:var(--panel);padding:.05em .3em}
.verdict{font-weight:600;font-size:1.1rem;margin:0;padding:.6rem .8rem;background:var(--panel)}
.verdict{border-left:.5rem solid var(--warn)}
.valid .verdict{border-color:var(--good)}.invalid .verdict{border-color:var(--bad)}
.sub,.note,figcaption,.glance dt,summary{color:var(--muted)}
.note,figcaption,.sub{font-size:.9rem}
.t b{white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad)}
.glance{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem;margin:0 0 1rem}
.glance>div{background:var(--panel);padding:.5rem .7rem}
.glance dt,.glance dd{margin:0}.glance dt{font-size:.85rem}.glance dd{font-size:1.2rem;font-weight:600}
.glance .sub{font-size:.8rem;font-weight:400}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,34rem),1fr));gap:1.6rem 2rem}
figure{margin:0;min-width:0;break-inside:avoid}
svg{display:block;width:100%;max-width:46rem;height:auto}
@media (max-width:34rem){svg{font-size:15.5px}}
.scroll{overflow-x:auto;max-width:100%}
details .scroll{max-height:24rem;overflow-y:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .6rem .15rem 0;text-align:right;white-space:nowrap;font-weight:400}
th,td{border-bottom:1px solid var(--grid)}
thead th{color:var(--muted)}
.t,.t td,.t th,tbody th{text-align:left}td.t,.t td{white-space:normal}.rows th{vertical-align:top;color:var(--muted)}
.t td:nth-child(3){white-space:nowrap}
summary{cursor:pointer;margin:.3rem 0}
output{display:block;min-height:1.4em;font-size:.85rem;color:var(--muted)}
@media print{body{max-width:none;padding:0;font-size:10pt}
details::details-content{content-visibility:visible;height:auto}
.charts{display:block}figure{break-inside:auto;margin-bottom:1.2rem}svg,tr,figcaption{break-inside:avoid}
h2,h3,figcaption,summary{break-after:avoid}
.scroll,details .scroll{overflow:visible;max-height:none}table{font-size:7.5pt}th,td{padding-right:.4rem}
figure summary,output{display:none}section{break-inside:auto}}
"""

# With a pointer over a picture of columns the numbers of one stand below it; before a page is printed, the tables that
# are folded up are opened.
SCRIPT = """
addEventListener("beforeprint",()=>document.querySelectorAll("details").forEach(d=>d.open=true));
document.querySelectorAll("svg[data-columns]").forEach(svg=>{
const edges=svg.dataset.columns.split(" ").map(Number),box=svg.viewBox.baseVal,out=document.createElement("output");
const all=what=>[...svg.parentNode.querySelectorAll(what)],rows=all("tbody tr");
const head=all("thead th").map(h=>h.textContent);
svg.after(out);
svg.addEventListener("pointermove",e=>{const r=svg.getBoundingClientRect(),x=(e.clientX-r.left)*box.width/r.width;
const at=edges.findLastIndex(edge=>edge<=x),row=rows[at];
const said=(c,i)=>c.textContent&&head[i]+" "+c.textContent;
out.textContent=row&&at+1<edges.length?[...row.cells].map(said).filter(Boolean).join(" \\u00b7 "):"";});
svg.addEventListener("pointerleave",()=>out.textContent="");});
"""


def style() -> str:
    """Returns the style sheet: light, dark if the reader prefers it, and light on paper."""
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{variables(is_dark=True)}}}}}"
    return f":root{{{variables()}}}{dark}{rules()}{_STYLE}"


def policy(*texts: str) -> str:
    """Returns a Content-Security-Policy: the page loads nothing, and runs and styles by nothing but these texts."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
    return f"default-src 'none'; script-src {hashes}; style-src {hashes}"
