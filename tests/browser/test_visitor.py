"""The browser of the tests: what it notes of a page that does what none should do."""

from tests.harness.browser import Visitor, accessibility_findings, sideways


def test_what_leaves_this_machine_or_fails_is_noted(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("""<!DOCTYPE html><html lang="en"><title>x</title>
        <img src="https://elsewhere.example/a.png"><div style="width: 2000px">x</div>
        <script>alert("told"); console.error("heard"); missing()</script>""")
    visiting = Visitor(browser)
    page = visiting.open(path.as_uri())
    assert [finding.partition(":")[0] for finding in accessibility_findings(page)] == ["image-alt"]
    assert sideways(page) > 700
    visiting.close()
    faults = "\n".join(visiting.faults)
    assert "request: https://elsewhere.example/a.png" in faults
    assert "dialog: told" in faults
    assert "console: heard" in faults
    assert "missing is not defined" in faults
    assert visiting.requests == [path.as_uri(), "https://elsewhere.example/a.png"]
