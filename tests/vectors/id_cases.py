"""Cases of ids.json: message ids and cursors, and when a cursor continues."""

from tests.vectors.files import Json

E = 1795348800000000
TOP = 2**53 - 1

IDS = [(E, 1), (E, 0), (0, 0), (1, 10), (TOP, TOP), (999_999_999_999_999, 7)]

NO_IDS = [
    ("empty", ""),
    ("no-seq", f"{E}-"),
    ("no-epoch", "-1"),
    ("no-dash", f"{E}"),
    ("leading-zero-in-seq", f"{E}-01"),
    ("leading-zero-in-epoch", f"0{E}-1"),
    ("plus", f"{E}-+1"),
    ("negative", f"{E}--1"),
    ("fraction", f"{E}-1.0"),
    ("exponent", f"{E}-1e3"),
    ("space", f"{E}- 1"),
    ("line-feed-at-the-end", f"{E}-1\n"),
    ("underscore", f"{E}-1_0"),
    ("other-digits", f"{E}-\u0661"),
    ("seq-2-to-the-53", f"{E}-{2**53}"),
    ("epoch-2-to-the-53", f"{2**53}-1"),
    ("very-long", "1" * 10_000 + "-1"),
    ("three-numbers", f"{E}-1-1"),
    ("a-cursor", f"{E}-1@{E + 1}"),
]

CURSORS = [
    (f"{E}-7", (E, 7), E),
    (f"{E}-0", (E, 0), E),
    (f"{E}-7@{E + 5}", (E, 7), E + 5),
    (f"{E}-7@{E}", (E, 7), E),
    ("0-0", (0, 0), 0),
    (f"0-0@{E}", (0, 0), E),
]

NO_CURSORS = [
    ("empty", ""),
    ("no-epoch-after-at", f"{E}-7@"),
    ("no-id-before-at", f"@{E}"),
    ("an-id-after-at", f"{E}-7@{E}-1"),
    ("leading-zero-in-epoch", f"{E}-7@0{E}"),
    ("two-at", f"{E}-7@{E}@{E}"),
    ("epoch-2-to-the-53", f"{E}-7@{2**53}"),
    ("not-an-id", "latest"),
]

TAIL = f"{E}-10"

CONTINUITY = [
    ("no-cursor", None, TAIL, "replay"),
    ("in-the-epoch", f"{E}-7", TAIL, "exact"),
    ("at-the-tail", TAIL, TAIL, "exact"),
    ("before-the-first", f"{E}-0", TAIL, "exact"),
    ("before-the-first-of-an-empty-epoch", f"{E}-0", f"{E}-0", "exact"),
    ("above-the-tail", f"{E}-11", TAIL, "replay"),
    ("of-an-older-epoch", f"{E - 1}-7", TAIL, "replay"),
    ("of-a-newer-epoch", f"{E + 1}-7", TAIL, "replay"),
    ("older-message-read-in-this-epoch", f"{E - 1}-99@{E}", TAIL, "exact"),
    ("older-message-read-in-an-older-epoch", f"{E - 2}-99@{E - 1}", TAIL, "replay"),
    ("message-of-this-epoch-read-in-an-older", f"{E}-7@{E - 1}", TAIL, "replay"),
    ("message-of-a-later-epoch-read-in-this-one", f"{E + 1}-7@{E}", TAIL, "replay"),
    ("compared-as-numbers", f"{E}-9", TAIL, "exact"),
    ("of-the-start", "0-0", TAIL, "replay"),
    ("of-the-start-read-in-this-epoch", f"0-0@{E}", TAIL, "exact"),
]


def document() -> Json:
    """Write ids.json."""
    return {
        "about": "Message ids <epoch>-<seq>, cursors <id> or <id>@<epoch>, and the "
        "continuity of reading after a cursor when the mailbox's tail is the one given.",
        "ids": {
            "valid": [
                {"id": f"{epoch}-{seq}", "epoch": epoch, "seq": seq} for epoch, seq in IDS
            ],
            "invalid": _invalid(NO_IDS),
        },
        "cursors": {
            "valid": [
                {
                    "id": text,
                    "after": {"epoch": after[0], "seq": after[1]},
                    "epoch": epoch,
                    "canonical": text.removesuffix(f"@{after[0]}"),
                }
                for text, after, epoch in CURSORS
            ],
            "invalid": _invalid(NO_CURSORS),
        },
        "continuity": [
            {"id": id, "cursor": cursor, "tail": tail, "continuity": continuity}
            for id, cursor, tail, continuity in CONTINUITY
        ],
    }


def _invalid(cases: list[tuple[str, str]]) -> list[Json]:
    return [{"id": id, "text": text, "error": "bad_request"} for id, text in cases]
