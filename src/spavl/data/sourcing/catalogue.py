"""All images of a source and an index of their captions, in the run folder: built once, shard by shard."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from spavl.data.sourcing.config import SPEC
from spavl.data.sourcing.readers.entry import RowLimits, SkippedEntry, SourceEntry
from spavl.data.sourcing.shards import Look, SourceShard
from spavl.records import content_hash
from spavl.stages.notes import PersonalDataNotes, TextAction
from spavl.stages.privacy import KEEP_TEXTS, PrivacyConfig, filter_text
from spavl.store.files import disk_faults, state_of
from spavl.store.sqlite import connect
from spavl.terminal.progress import Screen

_TABLES = (
    "CREATE TABLE IF NOT EXISTS shards (state TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, "
    "source TEXT, caption TEXT, license TEXT, fit REAL, url TEXT, vector TEXT)",
    "CREATE TABLE IF NOT EXISTS files (source TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS skipped (place TEXT, reason TEXT)",
    "CREATE TABLE IF NOT EXISTS vectors (maker TEXT, id INTEGER, vector BLOB, reason TEXT, PRIMARY KEY (maker, id))",
    "CREATE TABLE IF NOT EXISTS finds (id INTEGER, kind TEXT, number INTEGER)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='', tokenize='porter unicode61')",
)
_ROWS_AT_ONCE = 4096
# A longer term must match with all its words: it has too many subsets of words to search each.
_MOST_WORDS = 8
# Scripts without spaces between words: each character is indexed as a word.
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


class SearchHit(NamedTuple):
    """An entry that a search found. A higher score is a better match."""

    entry: SourceEntry
    score: float


class Catalogue:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = connect(path)
        for table in _TABLES:
            self.database.execute(table)
        # Captions that were stored under another `privacy.texts` must not stay in the free pages of the file.
        self.database.execute("PRAGMA secure_delete=ON")

    def build(
        self,
        shards: Sequence[SourceShard],
        limits: RowLimits,
        screen: Screen,
        look: Look = state_of,
        privacy: PrivacyConfig = KEEP_TEXTS,
    ) -> None:
        """Add the shards that are not in the catalogue yet. If a known shard was changed or removed, rebuild it all.

        `look` returns the state of a file or folder. Captions and licenses are filtered before they are stored.
        """
        filtered = privacy.depends_on(SPEC)
        states = {content_hash([str(shard.path), shard.state(look), limits, *filtered]): shard for shard in shards}
        known = {state for (state,) in self.database.execute("SELECT state FROM shards")}
        if not known <= states.keys():
            self.clear()
            known = set()
        with screen.bar("catalogue", len(states), len(known), unit="shards") as bar:
            for state, shard in states.items():
                if state not in known:
                    self._take_in(state, shard.entries(limits), privacy.texts)
                    bar.advance()

    def clear(self) -> None:
        with disk_faults(self.path), self.database:
            for table in ("shards", "entries", "files", "skipped", "vectors", "finds"):
                self.database.execute(f"DELETE FROM {table}")
            self.database.execute("INSERT INTO words (words) VALUES ('delete-all')")

    def _take_in(self, state: str, found: Iterator[SourceEntry | SkippedEntry], texts: TextAction = "keep") -> None:
        """Add a shard in one transaction, so that an interruption leaves no shard half added."""
        (last,) = self.database.execute("SELECT COALESCE(MAX(id), 0) FROM entries").fetchone()
        with disk_faults(self.path), self.database as database:
            while rows := list(islice(found, _ROWS_AT_ONCE)):
                entries = [row for row in rows if isinstance(row, SourceEntry) and self._is_new(row)]
                numbered = list(enumerate(entries, last + 1))
                last += len(entries)
                if texts != "keep":
                    numbered = [(k, self._filter_entry(k, row, texts)) for k, row in numbered]
                database.executemany(
                    "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", [(k, *row) for k, row in numbered]
                )
                database.executemany(
                    "INSERT INTO words (rowid, text) VALUES (?, ?)",
                    ((k, separate_characters(row.caption)) for k, row in numbered),
                )
                database.executemany(
                    "INSERT INTO skipped VALUES (?, ?)", [row for row in rows if isinstance(row, SkippedEntry)]
                )
            database.execute("INSERT INTO shards VALUES (?)", (state,))

    def _filter_entry(self, number: int, entry: SourceEntry, texts: TextAction) -> SourceEntry:
        """The entry as it may be stored. What was found in it is counted."""
        caption, license_ = filter_text(entry.caption), filter_text(entry.license)
        if not (found := caption.found + license_.found):
            return entry
        rows = [(number, kind, times) for kind, times in found.items()]
        self.database.executemany("INSERT INTO finds VALUES (?, ?, ?)", rows)
        return entry if texts == "count" else entry._replace(caption=caption.text, license=license_.text)

    def personal_data(self, texts: TextAction) -> PersonalDataNotes | None:
        """What was found in the captions and licenses of the source; None if it was not looked for."""
        if texts == "keep":
            return None
        (rows_with,) = self.database.execute("SELECT COUNT(DISTINCT id) FROM finds").fetchone()
        found = dict(self.database.execute("SELECT kind, SUM(number) FROM finds GROUP BY kind ORDER BY kind"))
        return PersonalDataNotes(action=texts, rows=self.count(), rows_with=rows_with, dropped=0, found=found)

    def _is_new(self, entry: SourceEntry) -> bool:
        """False if the file is already listed. Tables are read before loose images, as they hold more metadata."""
        if not entry.source.startswith("file:"):
            return True
        return self.database.execute("INSERT OR IGNORE INTO files VALUES (?)", (entry.source,)).rowcount > 0

    def search(self, terms: Sequence[str], most: int) -> Iterator[SearchHit]:
        """The best entries of each term in turn, so that no term fills the list alone; each entry once.

        Entries with all words of a term come before entries with most of them.
        """
        return in_turns([[self._search(query(term), most) for term in terms] for query in (_all_of, _most_of)], most)

    def _search(self, query: str, most: int) -> Iterator[tuple[int, SearchHit]]:
        if not query:
            return
        found = self.database.execute(
            "SELECT entries.*, found.rank FROM entries JOIN "
            "(SELECT rowid, rank FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?) AS found "
            "ON entries.id = found.rowid ORDER BY found.rank, found.rowid",
            (query, most),
        )
        for number, *entry, rank in found:
            # Rounded to six digits, so that a difference in the last bit does not change a candidate's id.
            yield number, SearchHit(SourceEntry(*entry), round(-rank, 6))

    def entry(self, number: int) -> SourceEntry:
        row = self.database.execute("SELECT * FROM entries WHERE id = ?", (number,)).fetchone()
        return SourceEntry(*row[1:])

    def states(self) -> list[str]:
        """The states of the shards in the catalogue."""
        return [state for (state,) in self.database.execute("SELECT state FROM shards ORDER BY state")]

    def count(self) -> int:
        return int(self.database.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def caption_count(self) -> int:
        """The number of entries with a caption."""
        return int(self.database.execute("SELECT COUNT(*) FROM entries WHERE caption != ''").fetchone()[0])

    # The search by words uses no model.
    model = ""

    def found_any(self) -> bool:
        return self.caption_count() > 0

    def skipped_entries(self, most: int) -> list[SkippedEntry]:
        return [
            SkippedEntry(*row) for row in self.database.execute("SELECT place, reason FROM skipped LIMIT ?", (most,))
        ]

    def reasons(self) -> dict[str, int]:
        found = self.database.execute("SELECT reason, COUNT(*) FROM skipped GROUP BY reason ORDER BY reason")
        return dict(found.fetchall())

    def close(self) -> None:
        self.database.close()


def in_turns(rounds: Sequence[Sequence[Iterator[tuple[int, SearchHit]]]], most: int) -> Iterator[SearchHit]:
    """The first hit of each search of a round, then the second of each, and so on; each entry once."""
    found = chain.from_iterable(chain.from_iterable(zip_longest(*searches)) for searches in rounds)
    return islice(_each_once(filter(None, found)), most)


def _each_once(found: Iterator[tuple[int, SearchHit]]) -> Iterator[SearchHit]:
    met: set[int] = set()
    for number, hit in found:
        if number not in met:
            met.add(number)
            yield hit


def separate_characters(text: str) -> str:
    """The text with spaces around each character of the scripts that write without spaces."""
    return _UNSPACED.sub(r" \1 ", text)


def _all_of(term: str) -> str:
    return _query(_phrases(term))


def _most_of(term: str) -> str:
    """A query for any majority of a term's words: a caption seldom has every "by" and "the" of it."""
    phrases = _phrases(term)
    needed = len(phrases) // 2 + 1
    if not needed < len(phrases) <= _MOST_WORDS:
        return ""
    return " OR ".join(f"({_query(some)})" for some in combinations(phrases, needed))


def _phrases(term: str) -> list[str]:
    """The words of a term, each once. The characters of a word in an unspaced script form a phrase."""
    parts = (re.findall(r"\w+", separate_characters(word)) for word in term.split())
    return list(dict.fromkeys(f'"{" ".join(words)}"' for words in parts if words))


def _query(phrases: Sequence[str]) -> str:
    """A query for all of these phrases, in any order."""
    return " AND ".join(phrases)
