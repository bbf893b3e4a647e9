"""Pictures as SVG, by the standard library alone: scales, the frame with its axes, lines, heat maps and bars.

Each drawn thing has its colour twice: as a presentation attribute, which shows where a page's styles are taken away (a
server's Content-Security-Policy), and as a class, by which a page's styles choose light or dark. Nothing here knows
what a record is.
"""
