"""Which challenges there are, how each is configured, and whether a round of it is open.

A challenge is known if the operator's file has it or the webapp does. What the webapp says is kept for a
minute and served stale while the webapp is down, so that a submission does not wait for a configuration
that was known before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..config import ChallengeConfig, ChallengeTable, Config, merge_challenge
from ..errors import ConfigError, NotNow, PeerError, WebappError
from ..interfaces import IWebapp
from .remember import Remembered
from .webapp_model import ChallengeInfo, ChallengeLookup, Lookup, Round

MAX_REMEMBERED = 1000  # challenges
ASK_AGAIN = 10.0  # seconds until a webapp that did not answer is asked again


class Catalogue:
    """Challenges by their client name."""

    log = Logger()

    def __init__(self, clock: IReactorTime, config: Config, webapp: IWebapp) -> None:
        self._clock = clock
        self._webapp = webapp
        self._defaults = config.challenge_defaults
        self._operator = config.challenges
        ttl = config.webapp.config_ttl
        self._lookups: Remembered[ChallengeLookup] = Remembered(clock, ttl, MAX_REMEMBERED)
        self._infos: Remembered[ChallengeInfo] = Remembered(clock, ttl, MAX_REMEMBERED)
        self._merged: OrderedDict[str, tuple[ChallengeLookup, ChallengeConfig]] = OrderedDict()

    async def get(self, name: str) -> ChallengeConfig:
        """Return the configuration of a challenge.

        :raises PeerError: there is none of that name, or nobody can say whether there is.
        """
        lookup = await self._look_up(name)
        kept = self._merged.get(name)
        if kept is not None and kept[0] is lookup:
            return kept[1]
        merged = self._merge(name, lookup)
        self._merged[name] = (lookup, merged)
        self._merged.move_to_end(name)
        while len(self._merged) > MAX_REMEMBERED:
            self._merged.popitem(last=False)
        return merged

    async def refuse_outside_rounds(self, name: str, challenge: ChallengeConfig) -> None:
        """Raise :class:`PeerError` if it is known that no round of the challenge is open now."""
        number = challenge.number
        if number is None:
            return
        try:
            info = await self._infos.get(name, lambda: self._info(number))
        except WebappError:
            # If nothing is known, the webapp's own check at registration decides.
            stale = self._infos.stale(name) or ChallengeInfo(id=number)
            info = self._infos.use_again(name, stale, ASK_AGAIN)
        if info.rounds and not info.perpetual:
            refuse_if_closed(info.rounds, datetime.fromtimestamp(self._clock.seconds(), UTC))

    async def _look_up(self, name: str) -> ChallengeLookup:
        try:
            return await self._lookups.get(name, lambda: self._found(name))
        except WebappError as error:
            stale = self._lookups.stale(name)
            if stale is None and name in self._operator:
                stale = ChallengeLookup(Lookup.UNSUPPORTED)
            if stale is not None:
                return self._lookups.use_again(name, stale, ASK_AGAIN)
            self.log.warn("challenge {name!r} cannot be looked up: {error}", name=name, error=error)
            raise NotNow(
                f"Whether there is a challenge {name} cannot be checked right now, because the challenge "
                "site does not answer. Please try again in a minute."
            ) from None

    async def _found(self, name: str) -> ChallengeLookup:
        """Ask the webapp; raise for a challenge that is nowhere, since failures are not remembered."""
        lookup = await self._webapp.challenge_config(name)
        if lookup.outcome is not Lookup.FOUND and name not in self._operator:
            raise PeerError(f"Unrecognized Challenge: {name}")
        return lookup

    def _merge(self, name: str, lookup: ChallengeLookup) -> ChallengeConfig:
        operator = self._operator.get(name, ChallengeTable())
        try:
            return merge_challenge(self._defaults, lookup.config, operator, name=name)
        except ConfigError as error:
            self.log.warn("{problems}; what was good before, or is good of it, is used", problems=str(error))
        kept = self._merged.get(name)
        return kept[1] if kept else self._merge_what_is_good(name, lookup.config or {}, operator)

    def _merge_what_is_good(
        self, name: str, config: Mapping[str, object], operator: ChallengeTable
    ) -> ChallengeConfig:
        """Leave out the wrong keys alone: the others may forbid what would be open without them."""
        merged = merge_challenge(self._defaults, None, operator, name=name)
        good: dict[str, object] = {}
        for key, value in config.items():
            try:
                merged = merge_challenge(self._defaults, good | {key: value}, operator, name=name)
            except ConfigError:
                continue  # it was reported with the whole
            good[key] = value
        return merged

    async def _info(self, number: int) -> ChallengeInfo:
        info = await self._webapp.challenge(number)
        return ChallengeInfo(id=number) if info is None else info


def refuse_if_closed(rounds: tuple[Round, ...], now: datetime) -> None:
    """Raise :class:`PeerError` unless one of the rounds is open at ``now``; rounds without dates are open."""
    if any((not r.start or r.start <= now) and (not r.end or now < r.end) for r in rounds):
        return
    coming = sorted(r.start for r in rounds if r.start and r.start > now)
    if coming:
        when = f"The next round opens at {coming[0]:%Y-%m-%d %H:%M:%S} UTC."
    else:
        when = "Its last round is over."
    raise PeerError(f"The challenge is not open for submissions at this time. {when}")
