"""What a text says of families and children."""

from __future__ import annotations

import re

_FAMILY = (
    r"\b(?:un-?|non-?)?(?:famil(?:y|ies)|famly|kids?|child|childs|children|childern|childrens"
    r"|youngsters|toddlers|little ones)\b"
)
_ADULTS = (
    r"\b(?:adults?[ -]?only|only (?:for )?adults|(?:for|meant for) adults|over 18|18\+|mature"
    r"|adults?[ -](?:oriented|themed|establish\w*|venue|crowd|environment|atmosphere|setting"
    r"|clientele|friendly|pub|restaurant|coffee shop)|(?:child|kid|children)[ -]?free"
    r"|grown[ -]?ups)"
)
_NOT = (
    r"\b(?:not(?! only)|no|non|none|isn|isnt|aren|arent|doesnt|dont|never|without|cannot|cant|nor"
    r"|neither|lacks?|unsuitable|un|prohibit\w*|discourag\w*|bans?|banned|forbid\w*|barred|avoid"
    r"|unfriendly|un-?welcom\w*|inappropriate|excludes?|away|leave)\b|n't\b"
)
_CLAUSE_END = r"[.;!?:,](?= |$)|\b(?:but|however|although|though|yet|while|whilst)\b"
#: How many words on either side of "family" may contain the "not" that belongs to it.
_REACH = 6


def stated(text: str) -> set[str]:
    """Return what a text in small letters says: "yes", families are welcome, or "no", or both."""
    found = {"no"} if re.search(_ADULTS, text) else set()
    for clause in re.split(_CLAUSE_END, re.sub(_ADULTS, "", text)):
        for match in re.finditer(_FAMILY, clause):
            before = clause[: match.start()].split()[-_REACH:]
            after = clause[match.end() :].split()[:_REACH]
            negated = re.search(_NOT, " ".join([*before, "§", *after]))
            found.add("no" if negated or match[0].startswith(("un", "non")) else "yes")
    return found
