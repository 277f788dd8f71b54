"""The tags of an HTML page, read by Python's own parser."""

from html.parser import HTMLParser

NOT_CLOSED = {
    *("area", "base", "br", "wbr", "hr", "img", "input", "link", "meta"),
    *("line", "rect", "circle", "polygon", "polyline"),
}


class Tags(HTMLParser):
    """Tags and attributes of a page, and the text within each kind of tag; what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in NOT_CLOSED:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in NOT_CLOSED:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.data[self._open[-1]] = self.data.get(self._open[-1], "") + data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)
