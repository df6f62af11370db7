"""The tags and the words of an HTML text, one after another."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """`tags`: (name, attributes) of every opening tag; `words`: the texts between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]
